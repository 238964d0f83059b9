# Wrong: the step stands behind the loop of the batches. Seen: no error; one step for all of them.
# Code: FB-LOOP-11
# Fix: "    optimizer.step()" => "        optimizer.step()"
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 4)
y = x.sum(1, keepdim=True)
net = nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
for epoch in range(3):
    for i in range(0, 64, 16):
        loss = nn.functional.mse_loss(net(x[i : i + 16]), y[i : i + 16])
        optimizer.zero_grad()
        loss.backward()
    optimizer.step()
