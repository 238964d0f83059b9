# Wrong: the weight of a Sequential, whose layers have weights. Seen: AttributeError.
# Code: FB-NAME-07
# Fix: "net.weight" => "net[0].weight"
import torch
from torch import nn
net = nn.Sequential(nn.Linear(2, 1))
net.weight.data.normal_(0, 0.01)
