# Wrong: forward has no return. Seen: TypeError, None is no tensor.
# Code: FB-TYPE-05
# Fix: "        self.linear(x)" => "        return self.linear(x)"
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, x):
        self.linear(x)


y_pred = Net()(torch.randn(3, 4))
loss = (y_pred - 1).pow(2).mean()
