# needs: higher deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import higher
import torch

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
outer = torch.optim.Adam(net.parameters(), 1e-2)
for step in range(3):
    x, y = torch.randn(10, 3), torch.randn(10, 1)
    inner = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    outer.zero_grad()
    with higher.innerloop_ctx(net, inner, copy_initial_weights=False) as (fast, differentiable):
        for _ in range(3):
            differentiable.step((fast(x[:5]) - y[:5]).pow(2).mean())
        loss = (fast(x[5:]) - y[5:]).pow(2).mean()
        loss.backward()
    outer.step()
    R(f"outer{step}", loss.item(), net[0].weight.grad.norm().item())
