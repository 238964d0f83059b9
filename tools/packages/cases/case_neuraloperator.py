# needs: neuraloperator torchvision deps
import torch
from neuralop.models import FNO

torch.manual_seed(0)
m = FNO(n_modes=(8, 8), hidden_channels=12, in_channels=1, out_channels=1, n_layers=2)
x = torch.randn(2, 1, 16, 16)
opt = torch.optim.Adam(m.parameters(), 1e-3)
for _ in range(3):
    opt.zero_grad()
    l = (m(x) ** 2).mean()
    l.backward()
    opt.step()
    print("RESULT loss", l.item())
from neuralop import H1Loss, LpLoss

print("RESULT lp", LpLoss(d=2, p=2)(m(x), x).item(), H1Loss(d=2)(m(x), x).item())
t = FNO(n_modes=(6, 6), hidden_channels=8, in_channels=1, out_channels=1, factorization="tucker", rank=0.4, implementation="factorized")
print("RESULT tfno", t(x).mean().item())
