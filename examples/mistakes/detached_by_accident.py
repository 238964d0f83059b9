# Wrong: forward detaches what the first layer gives. Seen: no error; the first layer is never trained.
# Code: FB-PARAM-05
# Fix: "self.first(x).detach()" => "self.first(x)"
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 8)
        self.last = torch.nn.Linear(8, 2)

    def forward(self, x):
        h = self.first(x).detach()
        return self.last(h.tanh())


torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
