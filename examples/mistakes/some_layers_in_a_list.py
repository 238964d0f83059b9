# Wrong: half of the layers are in a plain list. Seen: no error; they are never trained.
# Code: FB-PARAM-02
# Fix: "[torch.nn.Linear(8, 8)]" => "torch.nn.ModuleList([torch.nn.Linear(8, 8)])"
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 8)
        self.hidden = [torch.nn.Linear(8, 8)]
        self.last = torch.nn.Linear(8, 2)

    def forward(self, x):
        x = self.first(x).tanh()
        for layer in self.hidden:
            x = layer(x).tanh()
        return self.last(x)


torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
