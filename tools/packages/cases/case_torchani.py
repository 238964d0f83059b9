# needs: torchani deps
import torch

torch.manual_seed(0)
import torchani

a = torchani.AEVComputer.like_2x(num_species=4)
sp = torch.tensor([[1, 0, 0, 0, 0]])
c = torch.tensor([[[0.03, 0.006, 0.01], [-0.83, 0.39, -0.26], [-0.66, -0.84, 0.20], [0.60, 0.10, 0.90], [0.9, -0.7, -0.8]]], requires_grad=True)
o = a(sp, c)
o = o[1] if isinstance(o, tuple) else o
o.sum().backward()
print("RESULT aev", tuple(o.shape), o.sum().item(), c.grad.norm().item())
