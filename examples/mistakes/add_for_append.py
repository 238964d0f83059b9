# Wrong: a method of another framework's models. Seen: AttributeError.
# Code: FB-NAME-07
# Fix: "net.add(" => "net.append("
import torch
from torch import nn
net = nn.Sequential()
net.add(nn.Linear(2, 1))
print(net(torch.randn(3, 2)))
