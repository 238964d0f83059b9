# needs: optimum-quanto safetensors deps
import copy

import torch
from optimum.quanto import Calibration, freeze, qint8, quantize
from torch import nn

torch.manual_seed(0)
m = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)).eval()
x = torch.randn(4, 64)
q = copy.deepcopy(m)
quantize(q, weights=qint8)
print("RESULT dyn", q(x).sum().item())
freeze(q)
print("RESULT w8", q(x).sum().item(), type(q[0].weight).__name__)
q = copy.deepcopy(m)
quantize(q, weights=qint8, activations=qint8)
with Calibration(momentum=0.9):
    q(x)
freeze(q)
print("RESULT act", q(x).sum().item())
