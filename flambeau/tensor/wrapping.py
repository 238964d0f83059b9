"""Tensors that are made of another one, which is on the tape in their place: base of nested and masked tensors, and of those that
lie on several processes."""

from __future__ import annotations

from typing import Any

from flambeau.tensor.interception import Presence
from flambeau.tensor.tensor import Tensor, disabled_torch_function

__all__ = ["WrappingTensor", "elements_of"]


class WrappingTensor(Tensor):
    """A tensor whose values, and whose place on the tape, are those of ``_v``. A subclass says what calls mean (``_intercept``) and
    what it is with other values (``_with``)."""

    __torch_function__ = disabled_torch_function  # calls come by _intercept
    _v: Tensor
    _presence: Presence
    _leaf = False
    _by_element = False
    """Whether what is done to each element alone may be done to those of ``_v``."""

    def _with(self, values: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def shape(self) -> Any:  # type: ignore[override]
        return self._shape

    @property
    def device(self) -> Any:
        return self._v.device

    # --- gradients --------------------------------------------------------------------------------------------

    @property  # type: ignore[misc]
    def requires_grad(self) -> bool:  # type: ignore[override]
        return self._v.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._v.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self._v.requires_grad_(requires_grad)
        return self

    @property
    def grad_fn(self) -> Any:  # type: ignore[override]
        return self._v.grad_fn

    @property
    def is_leaf(self) -> bool:  # type: ignore[override]
        return self._v.grad_fn is None

    @property
    def grad(self) -> Tensor | None:  # type: ignore[override]
        return None if self._v.grad is None else self._with(self._v.grad)

    @grad.setter
    def grad(self, value: Any) -> None:
        self._v.grad = None if value is None else value._v

    @property
    def _on_tape(self) -> Tensor:  # type: ignore[override]
        return self._v._on_tape

    def _values_of(self, gradient: Tensor) -> Tensor:
        """A gradient of this tensor as one of its values."""
        return gradient._v if isinstance(gradient, WrappingTensor) else gradient

    @property  # type: ignore[misc]
    def data(self) -> Tensor:  # type: ignore[override]
        return self.detach()

    def detach(self) -> Tensor:
        return self._with(self._v.detach())

    def _alias(self, cls: type | None = None) -> Tensor:
        return self._with(self._v)

    # --- as a tensor ------------------------------------------------------------------------------------------

    def _array(self) -> Any:
        raise RuntimeError(f".numpy() is not supported for tensor subclasses. Use what the {type(self).__name__} is made of.")

    def numpy(self, *, force: bool = False) -> Any:
        return self._array()

    def tolist(self) -> Any:
        raise RuntimeError(f".tolist() is not supported for tensor subclasses, got {type(self).__name__}")

    def __deepcopy__(self, memo: dict) -> Tensor:
        if id(self) not in memo:
            memo[id(self)] = self._with(self._v.detach().clone().requires_grad_(self._v.requires_grad))
        return memo[id(self)]


def elements_of(t: Tensor) -> Tensor:
    """What an update of each element alone works on: of a tensor that lies on several processes, what this one has."""
    return t._v if isinstance(t, WrappingTensor) and t._by_element else t
