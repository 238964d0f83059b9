# needs: lpips torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import contextlib
import io

import lpips
import torch

torch.manual_seed(0)
with contextlib.redirect_stdout(io.StringIO()):
    metric = lpips.LPIPS(net="alex", pnet_rand=True).eval()
a, b = torch.rand(1, 3, 64, 64, requires_grad=True), torch.rand(1, 3, 64, 64)
d = metric(a * 2 - 1, b * 2 - 1)
d.sum().backward()
R("lpips", d.item(), a.grad.norm().item())
