"""Arithmetic between tensors as modules, so that observers can stand behind it, and results can have a scale.

Source: https://docs.pytorch.org/docs/stable/generated/torch.ao.nn.quantized.FloatFunctional.html
"""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.ao.nn.quantized.weights import WithScale, found
from flambeau.nn.modules.linear import Identity
from flambeau.nn.modules.module import Module
from flambeau.quantized import arithmetic
from flambeau.tensor import Tensor

__all__ = ["FXFloatFunctional", "FloatFunctional", "QFunctional"]


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


class FXFloatFunctional(FloatFunctional):
    """Arithmetic as a module without observers, for symbolic tracing."""

    def __init__(self) -> None:
        Module.__init__(self)

    def activation_post_process(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x


class QFunctional(WithScale):
    """Arithmetic between quantized tensors, whose results have the scale and zero point of this module."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.zero_point = 1.0, 0
        self.activation_post_process = Identity()

    def _get_name(self) -> str:
        return "QFunctional"

    def extra_repr(self) -> str:
        return f"scale={self.scale}, zero_point={self.zero_point}"

    def forward(self, x: Any) -> Any:
        raise RuntimeError("Functional is not intended to use the 'forward'. Please use the underlying operation")

    def add(self, x: Any, y: Any) -> Any:
        return arithmetic.add(x, y, **self._static)

    def add_scalar(self, x: Any, y: float) -> Any:
        return arithmetic.add_scalar(x, y)

    def mul(self, x: Any, y: Any) -> Any:
        return arithmetic.mul(x, y, **self._static)

    def mul_scalar(self, x: Any, y: float) -> Any:
        return arithmetic.mul_scalar(x, y)

    def cat(self, x: list, dim: int = 0) -> Any:
        return arithmetic.cat(x, dim, **self._static)

    def add_relu(self, x: Any, y: Any) -> Any:
        return arithmetic.add(x, y, **self._static, relu=True)

    def matmul(self, x: Any, y: Any) -> Any:
        return arithmetic.matmul(x, y, **self._static)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> QFunctional:
        """Of a :class:`FloatFunctional` with an observer."""
        made = cls()
        made._set_scale(*found(mod))
        return made
