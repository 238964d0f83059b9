# needs: kymatio appdirs configparser deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from kymatio.torch import Scattering1D, Scattering2D

torch.manual_seed(0)
x = torch.randn(1, 512, requires_grad=True)
out = Scattering1D(J=4, shape=512, Q=4)(x)
out.sum().backward()
R("1d", tuple(out.shape), out.mean().item(), x.grad.norm().item())
R("2d", Scattering2D(J=2, shape=(16, 16), L=4)(torch.randn(1, 1, 16, 16)).mean().item())
