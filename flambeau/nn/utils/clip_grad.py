"""Gradients kept within bounds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from flambeau import ops
from flambeau.autograd import no_grad
from flambeau.core.dtypes import float32, float64
from flambeau.ops.norms import _total_norm
from flambeau.tensor import Tensor
from flambeau.tensor.exchange import tensor
from flambeau.tensor.formulas import Update, formula
from flambeau.tensor.wrapping import elements_of

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]


def _tensors(given: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [given] if isinstance(given, Tensor) else list(given)


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors together, as if they were one vector.

    Args:
        norm_type: the p of the norm; ``float("inf")`` for the largest absolute value.
        error_if_nonfinite: raise if the norm is nan or inf.
        foreach: kept for PyTorch's signature.

    >>> import flambeau as torch
    >>> torch.nn.utils.get_total_norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5.)
    """
    tensors = _tensors(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return tensor(0.0)
    dtype = tensors[0].dtype
    if norm_type and dtype in (float32, float64) and all(t.dtype is dtype and t.numel() for t in tensors):
        total = _total_norm(*tensors, ord=norm_type)
    else:
        total = ops.stack([t.norm(norm_type) for t in tensors]).norm(norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so "
            "it cannot be clipped. To disable this error and scale the gradients by the non-finite "
            "norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Multiply all gradients by min(1, max_norm / (total_norm + 1e-6)), in place."""
    # No branch on the value: the norm need not be known yet.
    factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    scale = Update(_scale)
    for param in _tensors(parameters):
        grad = param.grad
        if grad is not None:
            scale(elements_of(factor), elements_of(grad))


@formula
def _scaled(x, grad, factor):
    return x.mul(grad, factor)


def _scale(numbers, factor, grad):
    return (_scaled(grad, factor),)


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of `parameters` in place so that their total norm is at most `max_norm`.

    Returns the norm before. The arguments are those of ``get_total_norm``.

    >>> import flambeau as torch
    >>> w = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w / 2).sum().backward()
    >>> torch.nn.utils.clip_grad_norm_([w], max_norm=1.0)
    tensor(5.)
    >>> w.grad
    tensor([0.6000, 0.8000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html
    """
    is_generator = not isinstance(parameters, (Tensor, list, tuple, dict, set))
    parameters = _tensors(parameters)
    if is_generator and not parameters:
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3)
    grads = [param.grad for param in parameters if param.grad is not None]
    total_norm = get_total_norm(grads, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total_norm)
    return total_norm


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The old name of ``clip_grad_norm_``."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every gradient of `parameters` to [-clip_value, clip_value], in place.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html
    """
    clip_value = float(clip_value)
    clamp = Update(_clamp, (-clip_value, clip_value))
    for param in _tensors(parameters):
        grad = param.grad
        if grad is not None:
            clamp(grad, grad)


@formula
def _clamped(x, grad, low, high):
    return x.clamp(grad, low, high)


def _clamp(numbers, _, grad):
    return (_clamped(grad, *numbers),)
