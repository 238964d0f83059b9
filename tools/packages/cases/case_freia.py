# needs: freia deps
import FrEIA.framework as Ff
import FrEIA.modules as Fm
import numpy
import torch
import torch.nn as nn

numpy.random.seed(0)
torch.manual_seed(0)


def sub(i, o):
    return nn.Sequential(nn.Linear(i, 32), nn.ReLU(), nn.Linear(32, o))


inn = Ff.SequenceINN(4)
for _k in range(4):
    inn.append(Fm.AllInOneBlock, subnet_constructor=sub, permute_soft=True)
opt = torch.optim.Adam(inn.parameters(), 1e-3)
for _ in range(3):
    x = torch.randn(32, 4)
    z, lj = inn(x)
    l = (0.5 * (z**2).sum(1) - lj).mean() / 4
    opt.zero_grad()
    l.backward()
    opt.step()
    print("RESULT nll", l.item())
print("RESULT inv", (inn(inn(x)[0], rev=True)[0] - x).abs().max().item() < 1e-4)
n = [Ff.InputNode(3, 8, 8)]
n.append(Ff.Node(n[-1], Fm.IRevNetDownsampling, {}))
n.append(Ff.Node(n[-1], Fm.GLOWCouplingBlock, {"subnet_constructor": lambda i, o: nn.Conv2d(i, o, 3, padding=1), "clamp": 1.2}))
n.append(Ff.Node(n[-1], Fm.Flatten, {}))
n.append(Ff.OutputNode(n[-1]))
g = Ff.GraphINN(n)
z, j = g(torch.randn(2, 3, 8, 8))
print("RESULT graph", z.sum().item(), j.tolist())
