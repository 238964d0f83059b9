"""Convolution in NumPy: the forward pass and the gradients for input and weight.

The three are matrix products with the windows under the kernel as one factor. The windows are copied out block by block
(some samples, or some rows of one), so that a block's copy is still in the cache when it is multiplied. Where
each group has one input channel (depthwise), products are taken tap by tap instead, for all channels at once.

Shapes: input (N, C, *spatial), weight (O, C / groups, *kernel), output (N, O, *outputs). ``pads`` are
``(before, after)`` for each dim.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from flambeau.ops.windows import padded, sliding, tap

_BLOCK = 1 << 20
"""Bytes of windows that are copied out at a time: about what a core's second-level cache holds."""

_PLACES = 256
"""Fewer places than this at a time would make matrix products too thin to be fast."""


def _blocks(samples: int, outputs: tuple[int, ...], bytes_per_place: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of whole samples, or of rows of one, whose windows fit ``_BLOCK``."""
    rows, width = outputs[0], prod(outputs[1:])
    places = max(_BLOCK // max(bytes_per_place, 1), _PLACES)
    sample_step = max(places // max(rows * width, 1), 1)
    row_step = rows if rows * width <= places else max(places // width, 1)
    for n in range(0, samples, sample_step):
        for r in range(0, rows, row_step):
            yield slice(n, min(n + sample_step, samples)), slice(r, min(r + row_step, rows))


class _Windows:
    """The windows of a padded input, as matrices (groups, channels * taps, places), block by block."""

    def __init__(self, x: np.ndarray, kernel, stride, dilation, groups: int, outputs) -> None:
        n, c = x.shape[:2]
        dims = len(kernel)
        view = sliding(x, kernel, stride, dilation, outputs)
        self.view = view.transpose(*range(1, dims + 2), 0, *range(dims + 2, 2 * dims + 2))  # (C, *kernel, N, *outputs)
        self.first_row = dims + 2
        self.shape = (groups, c // groups * prod(kernel))
        self.blocks = _blocks(n, outputs, c * prod(kernel) * x.itemsize)
        self.buffer = np.empty(0, x.dtype)

    def __iter__(self) -> Iterator[tuple[slice, slice, np.ndarray]]:
        index = [slice(None)] * self.view.ndim
        for samples, rows in self.blocks:
            index[self.first_row - 1], index[self.first_row] = samples, rows
            block = self.view[tuple(index)]
            if block.flags.c_contiguous:
                yield samples, rows, block.reshape(*self.shape, -1)
                continue
            if self.buffer.size < block.size:
                self.buffer = np.empty(block.size, block.dtype)
            copy = self.buffer[: block.size].reshape(block.shape)
            np.copyto(copy, block)
            yield samples, rows, copy.reshape(*self.shape, -1)


def _channels_first(x: np.ndarray, samples: slice, rows: slice, groups: int) -> np.ndarray:
    """A block of (N, C, rows, ...) as (groups, C / groups, places)."""
    block = x[samples, :, rows]
    return block.swapaxes(0, 1).reshape(groups, x.shape[1] // groups, -1)


def forward(x, weight, bias, stride, pads, dilation, groups, outputs):
    """The cross-correlation of ``x`` with ``weight``."""
    x = padded(x, pads)
    n, o, kernel = len(x), len(weight), weight.shape[2:]
    out = np.empty((n, o, *outputs), x.dtype)
    if weight.shape[1] == 1 and groups > 1:
        _depthwise(x, weight, stride, dilation, out)
    elif not weight.size:  # no channels: sums of nothing
        out[...] = 0
    elif out.size:
        matrix = weight.reshape(groups, o // groups, -1)
        for samples, rows, windows in _Windows(x, kernel, stride, dilation, groups, outputs):
            block = out[samples, :, rows]
            block[...] = np.matmul(matrix, windows).reshape(o, len(block), *block.shape[2:]).swapaxes(0, 1)
    if bias is not None:
        out += bias.reshape(-1, *[1] * len(outputs))
    return out


def input_gradient(g, weight, bias, stride, pads, dilation, groups, sizes):
    """The transpose of :func:`forward` in its input, for an input of ``sizes``; ``bias`` is added to the result."""
    n, o = g.shape[:2]
    kernel, outputs = weight.shape[2:], g.shape[2:]
    c = weight.shape[1] * groups
    out = np.zeros((n, c, *[s + a + b for s, (a, b) in zip(sizes, pads, strict=True)]), g.dtype)
    taps = list(product(*map(range, kernel)))
    if weight.shape[1] == 1 and groups > 1:
        _depthwise_input(g, weight, stride, dilation, out)
    elif g.size:
        matrix = weight.reshape(groups, o // groups, -1).swapaxes(1, 2)
        for samples, rows in _blocks(n, outputs, c * len(taps) * g.itemsize):
            columns = np.matmul(matrix, _channels_first(g, samples, rows, groups))
            height = rows.stop - rows.start
            columns = columns.reshape(c, len(taps), samples.stop - samples.start, height, *outputs[1:])
            for t, place in enumerate(taps):
                first = rows.start * stride[0] + place[0] * dilation[0]
                where = [slice(first, first + (height - 1) * stride[0] + 1, stride[0])]
                where += [tap(*settings) for settings in zip(place[1:], stride[1:], dilation[1:], outputs[1:], strict=True)]
                out[(samples, slice(None), *where)] += columns[:, t].swapaxes(0, 1)
    out = out[(slice(None), slice(None), *[slice(a, a + s) for s, (a, _) in zip(sizes, pads, strict=True)])]
    return out if bias is None else out + bias.reshape(-1, *[1] * len(sizes))


def weight_gradient(x, g, stride, pads, dilation, groups, kernel):
    """The transpose of :func:`forward` in its weight."""
    x = padded(x, pads)
    o, channels = g.shape[1], x.shape[1] // groups
    if channels == 1 and groups > 1:
        return _depthwise_weight(x, g, stride, dilation, kernel)
    out = np.zeros((groups, o // groups, channels * prod(kernel)), x.dtype)
    if g.size and out.size:
        for samples, rows, windows in _Windows(x, kernel, stride, dilation, groups, g.shape[2:]):
            out += np.matmul(_channels_first(g, samples, rows, groups), windows.swapaxes(1, 2))
    return out.reshape(o, channels, *kernel)


# --- one input channel for each group ------------------------------------------------------------------------


def _taps(kernel, stride, dilation, outputs) -> Iterator[tuple[tuple[int, ...], tuple]]:
    """For each place in the kernel, where the elements under it are."""
    for place in product(*map(range, kernel)):
        yield place, tuple([tap(*settings) for settings in zip(place, stride, dilation, outputs, strict=True)])


def _factors(weight: np.ndarray, place: tuple[int, ...], groups: int) -> np.ndarray:
    """The weights at one place in the kernel, for (groups, outputs of the group, *places)."""
    taken: tuple[Any, ...] = (slice(None), 0, *place)
    return weight[taken].reshape(groups, -1, *[1] * len(place))


def _depthwise(x, weight, stride, dilation, out) -> None:
    n, groups = x.shape[:2]
    outputs = out.shape[2:]
    taps = list(_taps(weight.shape[2:], stride, dilation, outputs))
    for i in range(n):
        total = out[i].reshape(groups, -1, *outputs)
        total[...] = 0
        product_ = np.empty(total.shape, total.dtype)
        for place, where in taps:
            np.multiply(x[(i, slice(None), None, *where)], _factors(weight, place, groups), out=product_)
            total += product_


def _depthwise_input(g, weight, stride, dilation, out) -> None:
    n, groups = out.shape[:2]
    outputs = g.shape[2:]
    g = g.reshape(n, groups, g.shape[1] // groups, *outputs)
    taps = list(_taps(weight.shape[2:], stride, dilation, outputs))
    for i in range(n):
        product_ = np.empty(g[i].shape, g.dtype)
        for place, where in taps:
            np.multiply(g[i], _factors(weight, place, groups), out=product_)
            out[(i, slice(None), *where)] += product_[:, 0] if product_.shape[1] == 1 else product_.sum(1)


def _depthwise_weight(x, g, stride, dilation, kernel):
    n, groups = x.shape[:2]
    outputs = g.shape[2:]
    g = g.reshape(n, groups, g.shape[1] // groups, *outputs)
    out = np.zeros((*g.shape[1:3], 1, *kernel), x.dtype)
    taps = list(_taps(kernel, stride, dilation, outputs))
    for i in range(n):
        product_ = np.empty(g[i].shape, g.dtype)
        for place, where in taps:
            np.multiply(x[(i, slice(None), None, *where)], g[i], out=product_)
            tap: tuple[Any, ...] = (slice(None), slice(None), 0, *place)
            out[tap] += product_.reshape(*product_.shape[:2], -1).sum(2)
    return out.reshape(-1, 1, *kernel)
