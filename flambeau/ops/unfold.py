"""Windows as columns, and columns added back: ``unfold`` and ``fold``, also called im2col and col2im."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.ops import layouts
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.windows import padded, sliding, tap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor


def _unfolded(x, kernel, stride, padding, dilation, outputs):
    x = padded(x, tuple([(p, p) for p in padding]))
    return sliding(x, kernel, stride, dilation, outputs).reshape(len(x), x.shape[1] * prod(kernel), prod(outputs))


def _folded(x, kernel, stride, padding, dilation, outputs, sizes):
    x = x.reshape(len(x), x.shape[1] // prod(kernel), *kernel, *outputs)
    out = np.zeros((*x.shape[:2], *[n + 2 * p for n, p in zip(sizes, padding, strict=True)]), x.dtype)
    for place in product(*map(range, kernel)):
        where: list[Any] = [tap(*settings) for settings in zip(place, stride, dilation, outputs, strict=True)]
        out[(..., *where)] += x[(slice(None), slice(None), *place)]
    inside: list[Any] = [slice(p, p + n) for n, p in zip(sizes, padding, strict=True)]
    return out[(..., *inside)]


@op(
    name="_im2col",
    kernel=_unfolded,
    grad={"input": lambda g, input_shape, kernel, stride, padding, dilation, outputs: _col2im(
        g, kernel, stride, padding, dilation, outputs, input_shape[2:])},
    method=False,
    backward_name="Im2ColBackward0",
)  # fmt: skip
def _im2col(input: Tensor, kernel, stride, padding, dilation, outputs):
    """:func:`unfold` of a batch."""
    attrs = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "outputs": outputs}
    n, c = input._shape[:2]
    return (n, c * prod(kernel), prod(outputs)), input._dtype, (input,), attrs


@op(
    layout=layouts.channels_last,
    name="_col2im",
    kernel=_folded,
    grad={"input": lambda g, kernel, stride, padding, dilation, outputs: _im2col(
        g, kernel, stride, padding, dilation, outputs)},
    method=False,
    backward_name="Col2ImBackward0",
)  # fmt: skip
def _col2im(input: Tensor, kernel, stride, padding, dilation, outputs, sizes: Sequence[int]):
    """:func:`fold` of a batch."""
    attrs = {
        "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "outputs": outputs,
        "sizes": tuple(sizes),
    }  # fmt: skip
    n, rows = input._shape[:2]
    return (n, rows // prod(kernel), *sizes), input._dtype, (input,), attrs


def _pair(value, what: str) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) == 1:
        pair = pair * 2
    if len(pair) != 2:
        raise RuntimeError(f"It is expected {what} equals to 2, but got size {len(pair)}")
    low = 0 if what == "padding" else 1
    if min(pair) < low:
        bound = "be non negative" if what == "padding" else "be greater than zero"
        raise RuntimeError(f"{what} should {bound}, but got {what}_height: {pair[0]} {what}_width: {pair[1]}")
    return int(pair[0]), int(pair[1])


def _settings(sizes, kernel_size, dilation, padding, stride):
    kernel, stride = _pair(kernel_size, "kernel_size"), _pair(stride, "stride")
    padding, dilation = _pair(padding, "padding"), _pair(dilation, "dilation")
    outputs = tuple(
        [(n + 2 * p - d * (k - 1) - 1) // s + 1
         for n, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)]
    )  # fmt: skip
    return kernel, stride, padding, dilation, outputs


def _batched(input, dims: int) -> bool:
    """Whether the input has a batch dim."""
    shape = input._shape
    if len(shape) not in (dims - 1, dims) or 0 in shape[1 - dims :]:
        raise RuntimeError(
            f"Expected {dims - 1}D or {dims}D (batch mode) tensor for input with possibly 0 batch size and non-zero "
            f"dimensions for input, but got: {list(shape)}"
        )
    return len(shape) == dims


@composite(
    name="nn.functional.unfold",
    samples=lambda make: [
        Sample(make(1, 2, 3, 4), 2),
        Sample(make(2, 4, 3), (2, 3), 1, (1, 0), 2),
        Sample(make(1, 1, 5, 4), 2, dilation=2),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "tensor for input", make(3, 3), 2),
        ErrorSample(RuntimeError, "must be at least one", make(1, 2, 3, 3), 4),
        ErrorSample(RuntimeError, "It is expected kernel_size equals to 2", make(1, 2, 3, 3), (1, 1, 1)),
    ],
)
def unfold(
    input: Tensor,
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Tensor:
    """The windows of an input (N, C, H, W) as columns: (N, C * kH * kW, windows), or without N.

    A convolution is ``weight.view(O, -1) @ unfold(input, kernel_size)``.

    Raises ``RuntimeError`` for windows greater than the padded image.

    >>> import flambeau as torch
    >>> torch.nn.functional.unfold(torch.arange(6.0).reshape(1, 2, 3), (2, 2))
    tensor([[0., 1.],
            [1., 2.],
            [3., 4.],
            [4., 5.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.unfold.html
    """
    batched = _batched(input, 4)
    sizes = input._shape[-2:]
    settings = _settings(sizes, kernel_size, dilation, padding, stride)
    kernel, stride, padding, dilation, outputs = settings
    if min(outputs) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(sizes)}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
            f"calculated shape of the array of sliding blocks as {outputs}, but its components must be at least one."
        )
    return _im2col(input, *settings) if batched else _im2col(input.unsqueeze(0), *settings).squeeze(0)


@composite(
    name="nn.functional.fold",
    samples=lambda make: [
        Sample(make(1, 8, 6), (3, 4), 2),
        Sample(make(4, 2), (3, 2), 2, padding=(0, 1), stride=2),
        Sample(make(1, 4, 3), (3, 5), 2, dilation=2),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "divisible by the product of kernel_size", make(1, 5, 4), (3, 3), 2),
        ErrorSample(RuntimeError, "match the calculated number of sliding blocks", make(1, 4, 5), (3, 3), 2),
    ],
)
def fold(
    input: Tensor,
    output_size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Tensor:
    """Adds columns (N, C * kH * kW, windows) up to images (N, C, H, W): the transpose of :func:`unfold`.

    Raises ``RuntimeError`` for columns or windows whose number does not fit.

    >>> import flambeau as torch
    >>> torch.nn.functional.fold(torch.ones(4, 2), (2, 3), (2, 2))
    tensor([[[1., 2., 1.],
             [1., 2., 1.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fold.html
    """
    batched = _batched(input, 3)
    sizes = _pair(output_size, "output_size")
    settings = _settings(sizes, kernel_size, dilation, padding, stride)
    kernel, stride, padding, dilation, outputs = settings
    rows, blocks = input._shape[-2:]
    if rows % prod(kernel):
        raise RuntimeError(
            f"Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={rows} and kernel_size={kernel}."
        )
    given = f"Given output_size={sizes}, kernel_size={kernel}, dilation={dilation}, padding={padding}, stride={stride}, "
    if min(outputs) < 1:
        raise RuntimeError(
            f"{given}calculated shape of the array of sliding blocks as ({', '.join(map(str, outputs))}), which is too small (non-positive)"
        )
    if blocks != prod(outputs):
        raise RuntimeError(
            f"{given}expected size of input's dimension 2 to match the calculated number of sliding blocks {outputs[0]} * "
            f"{outputs[1]} = {prod(outputs)}, but got input.size(2)={blocks}."
        )
    return _col2im(input, *settings, sizes) if batched else _col2im(input.unsqueeze(0), *settings, sizes).squeeze(0)
