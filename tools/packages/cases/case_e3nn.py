# needs: e3nn opt-einsum-fx deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from e3nn import nn, o3

torch.manual_seed(0)
irreps = o3.Irreps("4x0e + 2x1o + 1x2e")
x = irreps.randn(5, -1)
R("harmonics", *(o3.spherical_harmonics(l, torch.randn(3, 3), normalize=True).sum().item() for l in (1, 2, 3)))
tp = o3.FullyConnectedTensorProduct(irreps, "0e + 1o", "3x0e + 1x1o")
out = tp(x, o3.Irreps("0e + 1o").randn(5, -1))
R("tensor_product", out.sum().item(), tp.weight.numel())
linear = o3.Linear(irreps, "2x0e + 2x1o")
R("linear", linear(x).sum().item())
rotation = o3.rand_matrix()
D = irreps.D_from_matrix(rotation)
R("equivariant", (linear(x @ D.T) - linear(x) @ linear.irreps_out.D_from_matrix(rotation).T).abs().max().item() < 1e-4)
gate = nn.Gate("4x0e", [torch.tanh], "2x0e", [torch.sigmoid], "2x1o")
y = gate(gate.irreps_in.randn(5, -1))
R("gate", y.sum().item())
y = tp(x.requires_grad_(), o3.Irreps("0e + 1o").randn(5, -1)).pow(2).sum()
y.backward()
R("gradient", x.grad.norm().item())
R("wigner", o3.wigner_3j(1, 1, 2).abs().sum().item())
R("norm", nn.BatchNorm(irreps)(x).std().item())
