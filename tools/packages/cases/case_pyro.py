# needs: pyro-ppl deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal, AutoMultivariateNormal
from pyro.optim import Adam

pyro.set_rng_seed(0)
x = torch.randn(40, 2)
y = x @ torch.tensor([1.0, -2.0]) + 0.5 + 0.1 * torch.randn(40)


def model(x, y=None):
    w = pyro.sample("w", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    sigma = pyro.sample("sigma", dist.HalfCauchy(1.0))
    with pyro.plate("data", len(x)):
        return pyro.sample("y", dist.Normal(x @ w + b, sigma), obs=y)


for name, guide in (("diagonal", AutoDiagonalNormal(model)), ("full", AutoMultivariateNormal(model))):
    pyro.clear_param_store()
    pyro.set_rng_seed(1)
    svi = SVI(model, guide, Adam({"lr": 0.05}), Trace_ELBO())
    R(name, *[svi.step(x, y) for _ in range(5)])
R("predictive", Predictive(model, guide=guide, num_samples=5)(x)["y"].mean().item())
pyro.set_rng_seed(2)
mcmc = MCMC(NUTS(model), num_samples=10, warmup_steps=10, disable_progbar=True)
mcmc.run(x, y)
R("nuts", *mcmc.get_samples()["w"].mean(0).round(decimals=1).tolist())
