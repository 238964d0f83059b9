from typing import Any

import flambeau as torch
from flambeau import Tensor


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grads[0]


x = torch.tensor([2.0], requires_grad=True)
y = Cube.apply(x)
(grad,) = torch.autograd.grad(y, x, create_graph=True)
print(grad.item(), x.grad is None, x.is_leaf)
with torch.no_grad():
    x.mul_(2).clamp_(min=0, max=3)
print(x.detach().numpy().tolist(), x.requires_grad)
