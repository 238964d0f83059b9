"""``torch.ao.nn.quantized``: what models that can be quantized hold before they are.

Source: https://docs.pytorch.org/docs/stable/generated/torch.ao.nn.quantized.FloatFunctional.html
"""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.nn.modules.linear import Identity
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = ["FloatFunctional"]


class FloatFunctional(Module):
    """Arithmetic as a module, so that an observer can stand behind it.

    >>> import flambeau as torch
    >>> add = torch.ao.nn.quantized.FloatFunctional()
    >>> add.add(torch.ones(2), torch.ones(2))
    tensor([2., 2.])
    """

    def __init__(self) -> None:
        super().__init__()
        self.activation_post_process = Identity()

    def forward(self, x: Any) -> Any:
        raise RuntimeError("FloatFunctional is not intended to use the 'forward'. Please use the underlying operation")

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return self.activation_post_process(ops.add(x, y))

    def add_scalar(self, x: Tensor, y: float) -> Tensor:
        return ops.add(x, y)

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        return self.activation_post_process(ops.mul(x, y))

    def mul_scalar(self, x: Tensor, y: float) -> Tensor:
        return ops.mul(x, y)

    def cat(self, x: list[Tensor], dim: int = 0) -> Tensor:
        return self.activation_post_process(ops.cat(x, dim=dim))

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        return self.activation_post_process(ops.relu(ops.add(x, y)))

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        return self.activation_post_process(x @ y)
