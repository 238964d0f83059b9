# Wrong: a matrix's initial values for a bias. Seen: ValueError.
# Code: FB-SHAPE-19
# Fix: "    nn.init" => "    if p.dim() > 1:\n        nn.init"
import torch
from torch import nn
net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
for p in net.parameters():
    nn.init.xavier_uniform_(p)
