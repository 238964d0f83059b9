# Wrong: super().__init__() is missing. Seen: AttributeError at the first layer.
# Code: FB-MODULE-01
# Fix: "(self):\n" => "(self):\n        super().__init__()\n"
import torch


class Model(torch.nn.Module):
    def __init__(self):
        self.linear = torch.nn.Linear(4, 2)


model = Model()
