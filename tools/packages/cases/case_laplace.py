# needs: laplace-torch unfoldnd torchmetrics lightning-utilities backpack-for-pytorch transformers deps
import torch
from laplace import Laplace
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X = torch.randn(64, 2)
y = (X[:, 0] * X[:, 1] > 0).long()
dl = DataLoader(TensorDataset(X, y), batch_size=16)
m = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 2))
opt = torch.optim.Adam(m.parameters(), 1e-2)
for _ in range(10):
    for a, b in dl:
        opt.zero_grad()
        l = nn.functional.cross_entropy(m(a), b)
        l.backward()
        opt.step()
print("RESULT loss", l.item())
for sub, h in [("last_layer", "kron"), ("all", "diag"), ("all", "full")]:
    la = Laplace(m, "classification", subset_of_weights=sub, hessian_structure=h)
    la.fit(dl)
    print("RESULT", sub, h, la.log_marginal_likelihood().item())
    la.optimize_prior_precision(method="marglik")
    print("RESULT pr", la.prior_precision.mean().item(), la(X[:3], link_approx="probit").tolist())
