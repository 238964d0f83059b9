# needs: torchquad loguru autoray tqdm deps
import torch
from torchquad import VEGAS, Boole, MonteCarlo, Simpson, set_log_level

set_log_level("ERROR")
torch.set_default_dtype(torch.float64)


def f(x):
    return torch.sin(x[:, 0]) + torch.exp(x[:, 1])


for I, k in ((Simpson, {}), (Boole, {}), (MonteCarlo, dict(seed=3))):
    print("RESULT", I.__name__, I().integrate(f, dim=2, N=1001, integration_domain=[[0, 1], [-1, 1]], backend="torch", **k).item())
print("RESULT vegas", VEGAS().integrate(f, dim=2, N=2000, integration_domain=[[0, 1], [-1, 1]], seed=3).item())
