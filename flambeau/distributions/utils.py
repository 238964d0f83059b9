"""What the distributions share: broadcasting of parameters, probabilities and log odds, parameters made on demand."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from numbers import Number
from typing import Any

from flambeau import ops
from flambeau.autograd import enable_grad
from flambeau.core.dtypes import finfo, get_default_dtype
from flambeau.core.size import Size
from flambeau.ops import namespace
from flambeau.tensor import Tensor
from flambeau.tensor.exchange import tensor

__all__ = ["broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits"]

functional = namespace("nn.functional")


def broadcast_all(*values) -> tuple[Tensor, ...]:
    """Tensors of one shape. Numbers become tensors of the first tensor's dtype, or of the default dtype.

    >>> import flambeau as torch
    >>> from flambeau.distributions.utils import broadcast_all
    >>> broadcast_all(torch.zeros(2), 1.0)
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    if not all(isinstance(v, (Tensor, Number)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__."
        )
    dtype = next((v.dtype for v in values if isinstance(v, Tensor)), get_default_dtype())
    return tuple(ops.broadcast_tensors(*(v if isinstance(v, Tensor) else tensor(v, dtype=dtype) for v in values)))


def _standard_normal(shape: Size, dtype, device) -> Tensor:
    """Numbers of the standard normal distribution; libraries take it from here as well."""
    return ops.randn(shape, dtype=dtype, device=device)


def expanded(parameter: Tensor, shape: Size) -> Tensor:
    """``parameter``, only to be read, in ``shape``."""
    return parameter if parameter.shape == shape else parameter.expand(shape)


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """The sum over the last ``dims`` dimensions."""
    return value.reshape(value.shape[: value.dim() - dims] + (-1,)).sum(-1) if dims else value


@cache
def _eps(dtype) -> float:
    return finfo(dtype).eps


def clamp_probs(probs: Tensor) -> Tensor:
    """``probs`` kept by the dtype's resolution away from 0 and 1."""
    eps = _eps(probs.dtype)
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of log odds, or (not ``is_binary``) of unnormalized log probabilities along the last dimension."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """The logarithm of the odds, or (not ``is_binary``) of the probabilities."""
    clamped = clamp_probs(probs)
    return clamped.log() - (-clamped).log1p() if is_binary else clamped.log()


class lazy_property:
    """A property that is computed, on the tape, at its first use and kept."""

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance, owner: type | None = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.function(instance)
        setattr(instance, self.name, value)
        return value


_sum_rightmost = sum_rightmost  # as libraries import it


def _triangle(n: int, diag: int):
    rows = ops.namespace("")["arange"](n)
    return rows < rows.view(-1, 1) + (diag + 1)


def vec_to_tril_matrix(vec, diag: int = 0):
    """Matrices ``(..., n, n)`` whose lower triangles, up to diagonal ``diag``, have the elements of vectors, row by row."""
    n = round((-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * vec.shape[-1] + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2)
    mat = vec.new_zeros((*vec.shape[:-1], n, n))
    mat[..., _triangle(n, diag)] = vec
    return mat


def tril_matrix_to_vec(mat, diag: int = 0):
    """The elements of lower triangles, up to diagonal ``diag``, row by row."""
    n = mat.shape[-1]
    if diag < -n or diag >= n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    return mat[..., _triangle(n, diag)]
