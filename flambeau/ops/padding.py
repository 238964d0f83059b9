"""Padding of the last dims: by a constant, a mirror image, the border's values, or around."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.core.errors import describe
from flambeau.core.scalars import fitting
from flambeau.ops import layouts
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.windows import padded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Number, Tensor


def _pairs(pad: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """PyTorch's flat list, last dim first, as ``(before, after)`` in the order of the dims."""
    return tuple(zip(pad[::2], pad[1::2], strict=True))[::-1]


def _output_shape(shape, pairs) -> tuple[int, ...]:
    lead = len(shape) - len(pairs)
    return (*shape[:lead], *[n + a + b for n, (a, b) in zip(shape[lead:], pairs, strict=True)])


# --- constant ------------------------------------------------------------------------------------------------


@op(
    layout=layouts.padded,
    tensors="input value",
    fits=True,
    kernel=lambda x, value, pad: padded(x, _pairs(pad), value),
    grad={"input": lambda g, pad: constant_pad_nd(g, [-n for n in pad])},
    method=False,
    samples=lambda make: [
        Sample(make(2, 3), (1, 2)),
        Sample(make(2, 3), (0, 1, 2, -1), 1.5),
        Sample(make(2, 3), ()),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "divisible by 2", make(3), (1,)),
        ErrorSample(RuntimeError, "two times the", make(3), (1, 1, 1, 1)),
    ],
)
def constant_pad_nd(input: Tensor, pad: Sequence[int], value: Number | complex = 0):
    """``input`` with ``value`` around it: ``pad`` is (before, after) of the last dim, then of the one before, ...

    Raises ``RuntimeError`` for an odd number of paddings, or more than twice the dims.

    >>> import flambeau as torch
    >>> torch.constant_pad_nd(torch.tensor([1, 2]), (1, 2), value=9)
    tensor([9, 1, 2, 9, 9])

    Source: PyTorch's operator ``aten::constant_pad_nd``.
    """
    pad = tuple([int(n) for n in pad])
    if len(pad) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2, but got padding length {len(pad)}")
    if len(pad) > 2 * input.dim():
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} and input of dimension {input.dim()}"
        )
    shape = _output_shape(input._shape, _pairs(pad))
    if any(n < 0 for n in shape):
        raise RuntimeError(
            f"The input size {list(input._shape)}, plus negative padding {list(pad)}, resulted in a negative output size: "
            f"{list(shape)}"
        )
    return shape, input._dtype, (input, fitting(value, input._dtype)), {"pad": pad}


# --- by the input's own values -------------------------------------------------------------------------------


def _source(n: int, before: int, after: int, mode: str) -> np.ndarray:
    """For each place along a padded dim, which of the ``n`` elements is there."""
    at = np.arange(-before, n + after)
    if mode == "replicate":
        return at.clip(0, n - 1)
    if mode == "circular":  # around what is left after cutting off
        first, last = max(-before, 0), n + min(after, 0)
        return (at - first) % (last - first) + first
    at = np.abs(at)
    return np.where(at >= n, 2 * (n - 1) - at, at)


def _mapped(x, pairs, mode):
    lead = x.ndim - len(pairs)
    for axis, (before, after) in enumerate(pairs, lead):
        if before or after:
            x = x.take(_source(x.shape[axis], before, after, mode), axis)
    return x


def _mapped_back(g, pairs, mode, shape):
    lead = g.ndim - len(pairs)
    for axis, (before, after) in enumerate(pairs, lead):
        if not (before or after):
            continue
        n = shape[axis]
        out = np.zeros((*g.shape[:axis], n, *g.shape[axis + 1 :]), g.dtype)
        g, to = np.moveaxis(g, axis, 0), np.moveaxis(out, axis, 0)
        for place, source in enumerate(_source(n, before, after, mode)):
            if not 0 <= place - before < n:
                to[source] += g[place]
        first, last = max(before, 0), n + before + min(after, 0)
        to[first - before : last - before] += g[first:last]
        g = out
    return g


_PADS = {"reflect": "ReflectionPad", "replicate": "ReplicationPad", "circular": "CircularPad"}


@op(
    layout=layouts.padded,
    name="_mapped_pad",
    kernel=_mapped,
    grad={"input": lambda g, input_shape, pairs, mode: _mapped_pad_grad(g, pairs, mode, input_shape)},
    method=False,
    overload=lambda inputs, attrs: f"{_PADS[attrs['mode']]}{len(attrs['pairs'])}DBackward0",
)
def _mapped_pad(input: Tensor, pairs, mode):
    """:func:`pad` by the input's own values."""
    return _output_shape(input._shape, pairs), input._dtype, (input,), {"pairs": pairs, "mode": mode}


@op(
    layout=layouts.channels_last,
    name="_mapped_pad_grad",
    kernel=_mapped_back,
    grad={"grad": lambda g, pairs, mode: _mapped_pad(g, pairs, mode)},
    method=False,
)
def _mapped_pad_grad(grad: Tensor, pairs, mode, shape: Sequence[int]):
    """The gradient of :func:`_mapped_pad`: what was copied to several places is their sum."""
    return tuple(shape), grad._dtype, (grad,), {"pairs": pairs, "mode": mode, "shape": tuple(shape)}


_SUPPORTED = """
Supported combinations for non-constant padding:
  - 2D or 3D input: padding size = 2 (pads last dimension)
  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)
  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"""


def _check_mapped(shape, pad: tuple[int, ...], mode: str) -> None:
    if len(pad) not in (2, 4, 6) or len(shape) - len(pad) // 2 not in (1, 2):
        raise NotImplementedError(f"Padding size {len(pad)} is not supported for {len(shape)}D input tensor.{_SUPPORTED}")
    pairs = _pairs(pad)
    if mode != "circular" and 0 in shape[len(shape) - len(pairs) - 1 :]:
        n = len(pairs)
        raise RuntimeError(
            f"Expected {n + 1}D or {n + 2}D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
            f"input, but got: {list(shape)}"
        )
    for axis, (before, after) in enumerate(pairs, len(shape) - len(pairs)):
        n = shape[axis]
        if n + before + after < 1:
            raise RuntimeError(
                f"input (size {n} at dimension {axis}) is too small for padding ({before}, {after}): the result would "
                f"have size {n + before + after}"
            )
        if mode == "circular" and (before > n or after > n):
            raise RuntimeError(
                f"Padding value causes wrapping around more than once. Dimension {axis} has size {n}, the padding is "
                f"({before}, {after})"
            )
        if mode == "reflect" and (before >= n or after >= n):
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
                f"({before}, {after}) at dimension {axis} of input {list(shape)}"
            )


@composite(
    name="nn.functional.pad",
    samples=lambda make: [
        Sample(make(2, 3), (1, 2)),
        Sample(make(2, 3), (1, 0, 2, -1), value=0.5),
        Sample(make(2, 3, 3), (1, 2, 2, 0), "reflect"),
        Sample(make(2, 3, 3), (1, 2, 2, -1), "replicate"),
        Sample(make(2, 3), (2, 3), "circular"),
        Sample(make(1, 2, 2, 2), (-1, 1, 1, 1, 1, 0), "reflect"),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "divisible by 2", make(3), (1,)),
        ErrorSample(NotImplementedError, "Unrecognised padding mode", make(3, 3), (1, 1), "mirror"),
        ErrorSample(NotImplementedError, "is not supported for 4D", make(1, 1, 3, 3), (1, 1), "reflect"),
        ErrorSample(RuntimeError, "less than the corresponding input", make(3, 3), (3, 1), "reflect"),
        ErrorSample(RuntimeError, "wrapping around more than once", make(3, 3), (4, 1), "circular"),
        ErrorSample(RuntimeError, "doesn't take in value", make(3, 3), (1, 1), "reflect", 1.0),
    ],
)
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """``input`` made larger at its edges: ``pad`` is (before, after) of the last dim, then of the one before, ...

    ``mode``: ``"constant"`` (``value``, by default 0), ``"reflect"`` (mirrored at the border, which is not repeated),
    ``"replicate"`` (the border's value) or ``"circular"`` (from the other side). Negative numbers cut elements off.

    Raises ``RuntimeError`` for an odd number of paddings, ``NotImplementedError`` for another ``mode``.

    >>> import flambeau as torch
    >>> torch.nn.functional.pad(torch.tensor([[1, 2, 3]]), (2, 1), mode="reflect")
    tensor([[3, 2, 1, 2, 3, 2]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pad.html
    """
    require_tensors("pad", input=input)
    if not isinstance(pad, (tuple, list)):
        raise TypeError(f"pad(): argument 'pad' (position 2) must be tuple of ints, not {describe(pad)}")
    if mode == "constant":
        if isinstance(value, complex):
            raise TypeError("pad(): argument 'value' (position 4) must be float, not complex")
        return constant_pad_nd(input, pad, 0 if value is None else float(value))
    if value:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    pad = tuple([int(n) for n in pad])
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    _check_mapped(input._shape, pad, mode)
    return _mapped_pad(input, _pairs(pad), mode)
