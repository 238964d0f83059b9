# Wrong: a weight is a plain tensor of the module. Seen: no error; it is never trained.
# Code: FB-PARAM-06
# Fix: "torch.ones(2, requires_grad=True)" => "torch.nn.Parameter(torch.ones(2))"
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)
        self.scale = torch.ones(2, requires_grad=True)

    def forward(self, x):
        return self.linear(x) * self.scale


torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
