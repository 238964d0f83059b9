# Wrong: losses.append(loss) keeps the graph of every step. Seen: no error; memory grows.
# Code: FB-MEMORY-01
# Fix: "losses.append(loss)" => "losses.append(loss.item())"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
losses = []
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss)
