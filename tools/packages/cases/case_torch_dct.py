# needs: torch-dct deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
import torch_dct

torch.manual_seed(0)
x = torch.randn(4, 16, requires_grad=True)
R("dct", torch_dct.dct(x).sum().item(), torch_dct.dct(x, norm="ortho").norm().item(), torch_dct.dct1(x).sum().item())
R("inverse", (torch_dct.idct(torch_dct.dct(x)) - x).abs().max().item() < 1e-5)
torch_dct.dct_2d(x[None]).pow(2).sum().backward()
R("gradient", x.grad.norm().item())
