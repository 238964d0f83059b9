# needs: botorch gpytorch linear-operator pyre-extensions pyro-ppl deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import warnings

import torch
from botorch.acquisition import LogExpectedImprovement, qExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Normalize, Standardize
from botorch.optim import optimize_acqf
from botorch.sampling import SobolQMCNormalSampler
from gpytorch.mlls import ExactMarginalLogLikelihood

warnings.simplefilter("ignore")
torch.manual_seed(0)
x = torch.rand(10, 2, dtype=torch.double)
y = 1 - (x - 0.5).norm(dim=-1, keepdim=True)
gp = SingleTaskGP(x, y, input_transform=Normalize(d=2), outcome_transform=Standardize(m=1))
fit_gpytorch_mll(ExactMarginalLogLikelihood(gp.likelihood, gp))
posterior = gp.posterior(torch.tensor([[0.4, 0.6], [0.1, 0.9]], dtype=torch.double))
R("posterior", *(round(v, 3) for v in posterior.mean.flatten().tolist()))
bounds = torch.stack([torch.zeros(2), torch.ones(2)]).double()
candidate, value = optimize_acqf(LogExpectedImprovement(gp, best_f=y.max()), bounds=bounds, q=1, num_restarts=2, raw_samples=16)
R("candidate", *(round(v, 2) for v in candidate.flatten().tolist()))
q = qExpectedImprovement(gp, best_f=y.max(), sampler=SobolQMCNormalSampler(torch.Size([32]), seed=1))
R("qei", float(q(torch.tensor([[0.5, 0.5], [0.45, 0.55]], dtype=torch.double)) >= 0))
