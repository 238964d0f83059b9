# needs: torchao deps
import copy

import torch
from torch import nn
from torchao.quantization import Int8WeightOnlyConfig, quantize_

torch.manual_seed(0)
m = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)).eval()
x = torch.randn(4, 64)
a = m(x)
q = copy.deepcopy(m)
quantize_(q, Int8WeightOnlyConfig())
print("RESULT w8", q(x).sum().item(), type(q[0].weight).__name__)
