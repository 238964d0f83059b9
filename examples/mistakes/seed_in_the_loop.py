# Wrong: the seed is set in every step. Seen: no error; each step sees the same rows.
# Code: FB-LOOP-09
# Fix: "    torch.manual_seed(0)\n" => ""
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 4)
y = x.sum(1, keepdim=True)
net = nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
for t in range(20):
    torch.manual_seed(0)
    rows = torch.randperm(64)[:16]
    loss = nn.functional.mse_loss(net(x[rows]), y[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
