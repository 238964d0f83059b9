# needs: pot deps
import numpy as np
import ot
import torch

rng = np.random.default_rng(0)
xs = torch.tensor(rng.normal(size=(20, 2)))
xt = torch.tensor(rng.normal(size=(20, 2)) + 2, requires_grad=True)
a = torch.ones(20, dtype=torch.float64) / 20
M = ot.dist(xs, xt)
w = ot.emd2(a, a, M)
w.backward()
print("RESULT emd", w.item(), xt.grad.norm().item())
xt.grad = None
s = ot.sinkhorn2(a, a, ot.dist(xs, xt), 1.0)
s.backward()
print("RESULT sink", float(s), xt.grad.norm().item())
print("RESULT sw", ot.sliced_wasserstein_distance(xs, xt.detach(), n_projections=20, seed=0).item())
print("RESULT gw", ot.gromov_wasserstein2(ot.dist(xs, xs), ot.dist(xt.detach(), xt.detach()), a, a).item())
print("RESULT 1d", ot.wasserstein_1d(xs[:, 0], xt.detach()[:, 0]).item(), ot.unbalanced.sinkhorn_unbalanced2(a, a, M.detach(), 1.0, 1.0).item())
r = ot.solve(M.detach(), a, a, reg=1.0)
print("RESULT solve", r.value.item(), r.plan.sum().item())
