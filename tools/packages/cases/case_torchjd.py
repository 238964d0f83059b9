# needs: torchjd deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from torchjd.aggregation import MGDA, Mean, PCGrad

torch.manual_seed(0)
for aggregator in (Mean(), PCGrad(), MGDA()):
    torch.manual_seed(1)
    net = torch.nn.Linear(4, 2)
    out = net(torch.randn(6, 4))
    losses = torch.stack([out[:, 0].pow(2).mean(), (out[:, 1] - 1).pow(2).mean()])
    jacobian = torch.stack([torch.cat([g.flatten() for g in torch.autograd.grad(l, list(net.parameters()), retain_graph=True)]) for l in losses])
    R(type(aggregator).__name__, aggregator(jacobian).norm().item())
