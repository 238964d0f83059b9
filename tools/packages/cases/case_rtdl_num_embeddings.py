# needs: rtdl-num-embeddings deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from rtdl_num_embeddings import (
    LinearReLUEmbeddings,
    PeriodicEmbeddings,
    PiecewiseLinearEmbeddings,
    PiecewiseLinearEncoding,
    compute_bins,
)

torch.manual_seed(0)
x = torch.randn(40, 3)
for name, module in (("linear", LinearReLUEmbeddings(3, 8)), ("periodic", PeriodicEmbeddings(3, 8, lite=False)), ("piecewise", PiecewiseLinearEmbeddings(compute_bins(x, n_bins=5), 8, activation=True, version="B"))):
    loss = module(x).pow(2).mean()
    loss.backward()
    R(name, loss.item(), sum(p.grad.norm().item() for p in module.parameters() if p.grad is not None))
R("encoding", PiecewiseLinearEncoding(compute_bins(x, n_bins=5))(x).sum().item())
