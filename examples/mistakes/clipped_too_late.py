# Wrong: gradients are clipped after the step. Seen: no error; nothing is clipped.
# Code: FB-LOOP-10
# Fix: "    optimizer.step()\n    nn.utils.clip_grad_norm_(net.parameters(), 1.0)" => "    nn.utils.clip_grad_norm_(net.parameters(), 1.0)\n    optimizer.step()"
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(64, 4)
y = x.sum(1, keepdim=True)
net = nn.Linear(4, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
for t in range(20):
    loss = nn.functional.mse_loss(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
