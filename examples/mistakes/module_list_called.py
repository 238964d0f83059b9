# Wrong: a ModuleList is called as if it were a Sequential. Seen: NotImplementedError, it has no forward.
# Code: FB-MODULE-03
# Fix: "torch.nn.ModuleList([torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)])" => "torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))"
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)])

    def forward(self, x):
        return self.layers(x)


y = Net()(torch.randn(3, 4))
