# needs: pytorch-wavelets six pywavelets deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from pytorch_wavelets import DTCWTForward, DTCWTInverse, DWTForward, DWTInverse

torch.manual_seed(0)
x = torch.randn(1, 2, 32, 32, requires_grad=True)
low, high = DWTForward(J=2, wave="db3", mode="symmetric")(x)
R("dwt", low.norm().item(), *(h.norm().item() for h in high))
R("inverse", (DWTInverse(wave="db3", mode="symmetric")((low, high)) - x).abs().max().item() < 1e-4)
low.pow(2).sum().backward()
R("gradient", x.grad.norm().item())
low, high = DTCWTForward(J=2, biort="near_sym_b", qshift="qshift_b")(x)
R("dtcwt", low.norm().item(), *(h.norm().item() for h in high))
R("dtcwt_inverse", (DTCWTInverse(biort="near_sym_b", qshift="qshift_b")((low, high)) - x).abs().max().item() < 1e-4)
