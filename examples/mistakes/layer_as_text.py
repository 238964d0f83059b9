# Wrong: a layer by its name as text. Seen: TypeError.
# Code: FB-TYPE-04
# Fix: "\"relu\"" => "nn.ReLU()"
import torch
from torch import nn
net = nn.Sequential(nn.Linear(2, 4), "relu", nn.Linear(4, 1))
