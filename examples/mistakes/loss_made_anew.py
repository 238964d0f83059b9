# Wrong: the loss is made anew as a tensor that requires a gradient. Seen: no error; no weight gets a gradient.
# Code: FB-GRAPH-10
# Fix: "    loss = loss.detach().requires_grad_()\n" => ""
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    loss = loss.detach().requires_grad_()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
