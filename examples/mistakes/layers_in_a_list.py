# Wrong: the layers are in a plain list, so the module does not know them. Seen: ValueError, no parameters.
# Code: FB-OPTIM-01
# Fix: "[torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)]" => "torch.nn.ModuleList([torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)])"
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
