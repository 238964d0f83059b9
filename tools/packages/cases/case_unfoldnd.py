# needs: unfoldnd deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
import unfoldNd

torch.manual_seed(0)
x = torch.randn(1, 2, 5, 6, 4)
R("3d", unfoldNd.UnfoldNd(2, stride=1)(x).sum().item())
R("1d", unfoldNd.unfoldNd(torch.randn(2, 3, 10), 3, padding=1).norm().item())
R("transpose", unfoldNd.UnfoldTransposeNd((2, 2), stride=1)(torch.randn(1, 2, 4, 4)).sum().item())
