# needs: nflows deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.nn.nets import ResidualNet
from nflows.transforms import (
    CompositeTransform,
    MaskedAffineAutoregressiveTransform,
    PiecewiseRationalQuadraticCouplingTransform,
    RandomPermutation,
)

torch.manual_seed(0)
parts = []
for _ in range(2):
    parts += [RandomPermutation(3), MaskedAffineAutoregressiveTransform(3, hidden_features=8)]
parts.append(PiecewiseRationalQuadraticCouplingTransform(torch.tensor([1, 0, 1]), lambda i, o: ResidualNet(i, o, hidden_features=8), tails="linear", tail_bound=3.0))
flow = Flow(CompositeTransform(parts), StandardNormal([3]))
optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
x = torch.randn(32, 3)
for step in range(3):
    loss = -flow.log_prob(x).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    R(f"loss{step}", loss.item())
R("sample", flow.sample(5).mean().item())
