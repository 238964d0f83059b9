# Wrong: optimizer.step() is missing. Seen: no error; nothing is learnt.
# Code: FB-LOOP-06
# Fix: "    loss.backward()" => "    loss.backward()\n    optimizer.step()"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
