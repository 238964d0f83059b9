# Wrong: super(Module, self) in class Model. Seen: NameError, there is no name Module here.
# Code: FB-NAME-03
# Fix: "super(Module, self)" => "super()"
import torch


class Model(torch.nn.Module):
    def __init__(self):
        super(Module, self).__init__()
        self.linear = torch.nn.Linear(4, 2)


model = Model()
