# needs: zuko deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
import zuko

for name, make in (("MAF", zuko.flows.MAF), ("NSF", zuko.flows.NSF), ("NICE", zuko.flows.NICE)):
    torch.manual_seed(0)
    flow = make(3, context=2, transforms=2, hidden_features=(16, 16))
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    x, c = torch.randn(32, 3), torch.randn(32, 2)
    for _ in range(3):
        loss = -flow(c).log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    R(name, loss.item(), flow(c[0]).sample((4,)).mean().item())
