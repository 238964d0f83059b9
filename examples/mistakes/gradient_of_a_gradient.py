# Wrong: a second derivative of a gradient that was not recorded. Seen: RuntimeError, no graph leads from the gradient to x.
# Code: FB-GRAPH-04
# Fix: "x.tanh().sum(), x)" => "x.tanh().sum(), x, create_graph=True)"
import torch

x = torch.tensor([0.5, 1.0], requires_grad=True)
(first,) = torch.autograd.grad(x.tanh().sum(), x)
(second,) = torch.autograd.grad(first.sum(), x)
print(second)
