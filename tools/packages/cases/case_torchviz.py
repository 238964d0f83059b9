# needs: torchviz graphviz deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from torchviz import make_dot

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
dot = make_dot(net(torch.randn(3, 4)).mean(), params=dict(net.named_parameters()))
names = sorted(line.split("label=")[1].strip().strip('[]"').split(" ")[0].split("\\")[0] for line in dot.source.splitlines() if "label=" in line)
R("nodes", *(n.replace('"', "") for n in names))
R("edges", dot.source.count("->"))
