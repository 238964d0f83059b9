# Wrong: super(Module, self) with Module imported skips Module.__init__. Seen: AttributeError at the first layer.
# Code: FB-MODULE-01
# Fix: "super(Module, self)" => "super()"
import torch
from torch.nn import Module


class Model(Module):
    def __init__(self):
        super(Module, self).__init__()
        self.linear = torch.nn.Linear(4, 2)


model = Model()
