# needs: pytorch-revgrad deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from pytorch_revgrad import RevGrad

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(3, 4), RevGrad(0.5), torch.nn.Linear(4, 1))
net(torch.randn(5, 3)).sum().backward()
R("gradients", net[0].weight.grad.norm().item(), net[2].weight.grad.norm().item())
