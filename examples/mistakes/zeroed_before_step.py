# Wrong: zero_grad() stands between backward() and step(). Seen: no error; nothing is learnt.
# Code: FB-LOOP-07
# Fix: "    loss.backward()\n    optimizer.zero_grad()\n" => "    optimizer.zero_grad()\n    loss.backward()\n"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
