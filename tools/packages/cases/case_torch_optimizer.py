# needs: torch-optimizer pytorch-ranger deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
import torch_optimizer

for name in ("AdaBound", "AdaMod", "DiffGrad", "Lamb", "NovoGrad", "QHAdam", "RAdam", "Ranger", "SWATS", "Shampoo", "Yogi", "LARS", "Adahessian", "AdaBelief"):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    x = torch.randn(16, 4)
    optimizer = getattr(torch_optimizer, name)(net.parameters(), lr=1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        loss = net(x).pow(2).mean()
        loss.backward(create_graph=name == "Adahessian")
        optimizer.step()
    R(name, loss.item())
