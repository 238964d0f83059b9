# needs: heavyball deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import heavyball
import torch

heavyball.utils.compile_mode = None
for name in ("AdamW", "SOAP", "PSGDKron", "Muon"):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    x = torch.randn(16, 4)
    optimizer = getattr(heavyball, name)(net.parameters(), lr=1e-2)
    for _ in range(3):
        loss = net(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    R(name, loss.item())
