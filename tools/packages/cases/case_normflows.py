# needs: normflows deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import normflows as nf
import torch

torch.manual_seed(0)
base = nf.distributions.base.DiagGaussian(2)
flows = []
for _ in range(3):
    flows += [nf.flows.AffineCouplingBlock(nf.nets.MLP([1, 16, 16, 2], init_zeros=True)), nf.flows.Permute(2, mode="swap"), nf.flows.ActNorm(2)]
flows.append(nf.flows.AutoregressiveRationalQuadraticSpline(2, 1, 8))
model = nf.NormalizingFlow(base, flows)
optimizer = torch.optim.SGD(model.parameters(), 1e-2)
target = nf.distributions.TwoMoons()
x = target.sample(64)
for step in range(3):
    loss = model.forward_kld(x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    R(f"loss{step}", loss.item())
z, log_q = model.sample(8)
R("sample", z.mean().item(), log_q.mean().item(), target.log_prob(z).mean().item())
