# Wrong: Net(x) makes a net; Net()(x) calls one. Seen: TypeError.
# Code: FB-CALL-07
# Fix: "y = Net(torch" => "y = Net()(torch"
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x)


y = Net(torch.randn(3, 4))
