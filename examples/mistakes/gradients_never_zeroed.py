# Wrong: zero_grad() is missing. Seen: no error; each step uses the sum of all gradients so far.
# Code: FB-LOOP-01
# Fix: "    loss.backward()" => "    optimizer.zero_grad()\n    loss.backward()"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    loss.backward()
    optimizer.step()
