# Wrong: batch norm of one sample in training. Seen: ValueError.
# Code: FB-SHAPE-20
# Fix: "print(" => "net.eval()\nprint("
import torch
from torch import nn
net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
print(net(torch.randn(1, 4)))
