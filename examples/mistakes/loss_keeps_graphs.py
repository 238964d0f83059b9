# Wrong: total += loss keeps the graph of every step. Seen: no error; memory grows until it runs out.
# Code: FB-MEMORY-01
# Fix: "total += loss\n" => "total += loss.item()\n"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
total = 0
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    total += loss
