# needs: conformer deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from conformer import Conformer

torch.manual_seed(0)
model = Conformer(dim=16, depth=2, dim_head=8, heads=2, ff_mult=2, conv_kernel_size=7)
x = torch.randn(2, 12, 16)
R("conformer", model(x).std().item())
loss = model(x).pow(2).mean()
loss.backward()
R("gradient", sum(p.grad.norm().item() for p in model.parameters() if p.grad is not None))
