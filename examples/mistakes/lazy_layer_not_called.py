# Wrong: the weight of a lazy layer before it has seen data. Seen: ValueError.
# Code: FB-MODULE-05
# Fix: "print(" => "net(torch.randn(4, 3))\nprint("
import torch
from torch import nn
net = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(1))
print(net[0].weight.norm())
