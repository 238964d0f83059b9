# needs: geomloss deps
import torch
from geomloss import SamplesLoss

torch.manual_seed(0)
x = torch.randn(50, 3, requires_grad=True)
y = torch.randn(60, 3)
for l in ["sinkhorn", "energy", "gaussian", "laplacian"][:4]:
    x.grad = None
    v = SamplesLoss(l, p=2, blur=0.05, backend="tensorized")(x, y)
    v.backward()
    print("RESULT", l, v.item(), x.grad.norm().item())
