"""Normalisation over the last dims of each sample: layer norm and RMS norm."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau.core import dtypes
from flambeau.ops import layouts
from flambeau.ops.normalization import check_parameters, layer_norm_of_rows
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

# --- layer norm, RMS norm ------------------------------------------------------------------------------------


def _normalized_dims(name: str, input, normalized_shape, weight, bias=None, star: str = "*, ") -> int:
    """How many of the last dims are normalised over; refuses shapes that do not fit."""
    require_tensors(name, input=input)
    if not isinstance(normalized_shape, (tuple, list)):
        kind = type(normalized_shape).__name__
        raise TypeError(f"{name}(): argument 'normalized_shape' (position 2) must be tuple of ints, not {kind}")
    expected = tuple(normalized_shape)
    if not expected:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []"
        )
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._shape != expected:
            raise RuntimeError(
                f"Expected {what} to be of same shape as normalized_shape, but got {what} of shape {list(t._shape)} and "
                f"normalized_shape = {list(expected)}"
            )
    if input._shape[-len(expected) :] != expected:
        raise RuntimeError(
            f"Given normalized_shape={list(expected)}, expected input with shape [{star}{', '.join(map(str, expected))}], "
            f"but got input of size{list(input._shape)}"
        )
    return len(expected)


@composite(
    name="nn.functional.layer_norm",
    samples=lambda make: [
        Sample(make(2, 3, 4), (4,)),
        Sample(make(3, 4), (4,), make(4), make(4)),
        Sample(make(2, 2, 3), (2, 3), make(2, 3), make(2, 3), 0.5),
        Sample(make(3, 4), (4,), make(4)),
        Sample(make(3, 4), (4,), None, make(4)),
        Sample(make(0, 4), (4,)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "Given normalized_shape", make(3, 4), (3,)),
        ErrorSample(RuntimeError, "Expected normalized_shape to be at least", make(3, 4), ()),
        ErrorSample(RuntimeError, "Expected weight to be of same shape", make(3, 4), (4,), make(3)),
        ErrorSample(TypeError, "must be tuple of ints", make(3, 4), 4),
    ],
)
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    r""":math:`(x - mean) / \sqrt{var + eps}\,w + b` over the last dims, which have ``normalized_shape``.

    The variance is the biased one. ``weight`` and ``bias`` have ``normalized_shape``.

    >>> import flambeau as torch
    >>> torch.nn.functional.layer_norm(torch.tensor([[1.0, 2.0, 3.0]]), [3])
    tensor([[-1.2247,  0.0000,  1.2247]])

    Source: Ba et al., Layer Normalization (2016), https://arxiv.org/abs/1607.06450
    """
    return _layer_normalised(input, normalized_shape, weight, bias, eps)[0]


def _layer_normalised(input, normalized_shape, weight, bias, eps):
    dims = _normalized_dims("layer_norm", input, normalized_shape, weight, bias)
    check_parameters("LayerNormKernelImpl", input, weight, bias)
    n = prod(normalized_shape)
    form = (prod(input._shape[:-dims]), n)
    return layer_norm_of_rows(input, weight, bias, form, (1,), (1, n), float(eps))


@composite(
    method=False,
    samples=lambda make: [Sample(make(3, 4), (4,), make(4), make(4), 1e-5), Sample(make(2, 4), (4,), None, None, 1e-5)],
)
def native_layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float):
    """:func:`layer_norm`, with mean and reciprocal standard deviation.

    >>> import flambeau as torch
    >>> torch.native_layer_norm(torch.tensor([[1.0, 3.0]]), (2,), None, None, 1e-5)
    (tensor([[-1.0000,  1.0000]]), tensor([[2.]]), tensor([[1.0000]]))

    Source: PyTorch's operator ``aten::native_layer_norm``.
    """
    out, mean, var = _layer_normalised(input, normalized_shape, weight, bias, eps)
    stats = (*input._shape[: -len(normalized_shape)], *[1] * len(normalized_shape))
    return out, mean.reshape(stats).to(out._dtype), (var + eps).rsqrt().reshape(stats).to(out._dtype)


@composite(
    layout=layouts.row_major,
    name="nn.functional.rms_norm",
    aliases=("rms_norm",),
    samples=lambda make: [
        Sample(make(2, 3, 4), (4,)),
        Sample(make(3, 4), (4,), make(4), 0.5),
        Sample(make(2, 2, 3), (2, 3), make(2, 3)),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "Given normalized_shape", make(3, 4), (3,))],
)
def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    r""":math:`x / \sqrt{mean(x^2) + eps}\,w` over the last dims, which have ``normalized_shape``.

    ``eps`` is by default the dtype's machine epsilon.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.rms_norm(torch.tensor([3.0, 4.0]), (2,))
    tensor([0.8485, 1.1314])

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019), https://arxiv.org/abs/1910.07467
    """
    dims = tuple(range(-_normalized_dims("rms_norm", input, normalized_shape, weight, star="*"), 0))
    eps = dtypes.finfo(input._dtype).eps if eps is None else eps
    x = input.float() if input._dtype.itemsize == 2 else input
    y = x * ((x * x).mean(dims, keepdim=True) + eps).rsqrt()
    return (y if weight is None else y * weight).to(input._dtype)
