# needs: opt-einsum-fx deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from opt_einsum_fx import fuse_einsums, optimize_einsums_full


def f(a, b, c):
    return torch.einsum("ij,jk->ik", a, torch.einsum("jk,kl->jl", b, c))


graph = torch.fx.symbolic_trace(f)
x = torch.arange(6.0).reshape(2, 3), torch.ones(3, 4), torch.arange(20.0).reshape(4, 5)
fused = fuse_einsums(graph.graph)
R("fused", sum(n.op == "call_function" for n in fused.nodes))
whole = optimize_einsums_full(f, x)
R("whole", (whole(*x) - f(*x)).abs().max().item(), sum(n.op == "call_function" for n in whole.graph.nodes))
