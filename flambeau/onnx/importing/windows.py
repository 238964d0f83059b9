"""Rules of convolutions and pools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.onnx.importing.registry import ints, rule

Tensor = torch.Tensor


class Windows:
    """Where windows lie: sizes, steps, and what is added before and behind each dim.

    ``behind`` is so much that ``x``, extended by it, has exactly the windows that ONNX counts; with ``ceil_mode`` that may be more
    than the pads that were asked for.
    """

    def __init__(
        self, sizes: Sequence[int], kernel: Sequence[int], strides: Any = None, pads: Any = None, dilations: Any = None,
        auto_pad: str = "NOTSET", ceil_mode: int = 0,
    ) -> None:  # fmt: skip
        n = len(kernel)
        self.kernel, self.strides, self.dilations = list(kernel), list(strides or [1] * n), list(dilations or [1] * n)
        self.reach = [d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel)]
        self.before, self.after = list((pads or [0] * 2 * n)[:n]), list((pads or [0] * 2 * n)[n:])
        if auto_pad.startswith("SAME"):
            for i, (size, reach, stride) in enumerate(zip(sizes, self.reach, self.strides)):
                lacking = max(0, (-(-size // stride) - 1) * stride + reach - size)
                small, large = lacking // 2, lacking - lacking // 2
                self.before[i], self.after[i] = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
        elif auto_pad == "VALID":
            self.before = self.after = [0] * n
        self.behind = list(self.after)
        if ceil_mode:
            for i, size in enumerate(sizes):
                whole, stride = size + self.before[i] + self.after[i] - self.reach[i], self.strides[i]
                count = -(-whole // stride) + 1
                if (count - 1) * stride >= size + self.before[i]:  # it would begin behind the last element
                    count -= 1
                self.behind[i] = max(self.after[i], (count - 1) * stride + self.reach[i] - size - self.before[i])

    @property
    def symmetric(self) -> bool:
        return self.before == self.behind

    def pads(self, behind: Sequence[int] | None = None) -> list[int]:
        """As ``F.pad`` wants them: the last dim first."""
        return [n for pair in zip(reversed(self.before), reversed(behind or self.behind)) for n in pair]

    def pad(self, x: Tensor, value: float = 0.0) -> Tensor:
        return F.pad(x, self.pads(), value=value) if any((*self.before, *self.behind)) else x


_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@rule("Conv")
def conv(
    x: Tensor, w: Tensor, b: Tensor | None = None, *, auto_pad: str = "NOTSET", dilations: Any = None, group: int = 1, kernel_shape: Any = None,
    pads: Any = None, strides: Any = None,
) -> Tensor:  # fmt: skip
    at = Windows(x.shape[2:], w.shape[2:], strides, pads, dilations, auto_pad)
    convolve = _CONVOLUTIONS[x.dim() - 2]
    if at.symmetric:
        return convolve(x, w, b, at.strides, at.before, at.dilations, group)
    return convolve(at.pad(x), w, b, at.strides, 0, at.dilations, group)


@rule("ConvTranspose")
def conv_transpose(
    x: Tensor, w: Tensor, b: Tensor | None = None, *, auto_pad: str = "NOTSET", dilations: Any = None, group: int = 1, kernel_shape: Any = None,
    output_padding: Any = None, output_shape: Any = None, pads: Any = None, strides: Any = None,
) -> Tensor:  # fmt: skip
    n = x.dim() - 2
    strides, dilations, extra = list(strides or [1] * n), list(dilations or [1] * n), list(output_padding or [0] * n)
    pads = list(pads or [0] * 2 * n)
    full = [s * (size - 1) + e + (k - 1) * d + 1 for size, s, e, k, d in zip(x.shape[2:], strides, extra, w.shape[2:], dilations)]
    if output_shape is not None or auto_pad.startswith("SAME"):
        want = output_shape[-n:] if output_shape is not None else [size * s for size, s in zip(x.shape[2:], strides)]
        for i, (whole, size) in enumerate(zip(full, want)):
            cut = max(0, whole - size)
            small, large = cut // 2, cut - cut // 2
            pads[i], pads[i + n] = (large, small) if auto_pad not in ("SAME_UPPER",) and output_shape is None else (small, large)
            extra[i] += max(0, size - whole)
    y = _TRANSPOSED[n](x, w, b, strides, 0, 0, group, dilations)
    changes = [c for i in reversed(range(n)) for c in (-pads[i], extra[i] - pads[i + n])]
    if any(changes):
        grown = F.pad(y if b is None else y - b.reshape(-1, *[1] * n), changes)
        y = grown if b is None else grown + b.reshape(-1, *[1] * n)
    return y


@rule("MaxPool")
def max_pool(
    x: Tensor, *, kernel_shape: Any, auto_pad: str = "NOTSET", ceil_mode: int = 0, dilations: Any = None, pads: Any = None, storage_order: int = 0,
    strides: Any = None, outputs: int,
) -> Any:  # fmt: skip
    at = Windows(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    wide = x if x.is_floating_point() else x.to(torch.float32)
    pool = _MAX_POOLS[x.dim() - 2]
    fits = at.symmetric and all(2 * p <= k for p, k in zip(at.before, at.kernel))
    if outputs == 1 and fits:
        return pool(wide, at.kernel, at.strides, at.before, at.dilations).to(x.dtype)
    whole = at.pad(wide, -math.inf)
    if outputs == 1:
        return pool(whole, at.kernel, at.strides, 0, at.dilations).to(x.dtype)
    y, places = pool(whole, at.kernel, at.strides, 0, at.dilations, return_indices=True)
    parts = []
    for size, before in zip(reversed(whole.shape[2:]), reversed(at.before)):
        parts.append(places % size - before)
        places = places // size
    index = torch.arange(x.shape[0] * x.shape[1]).reshape(x.shape[0], x.shape[1], *[1] * (x.dim() - 2))
    sizes = list(x.shape[2:])
    within = torch.zeros_like(parts[0])
    for part, size in zip(parts, reversed(sizes)) if storage_order else zip(reversed(parts), sizes):
        within = within * size + part
    return y.to(x.dtype), index * math.prod(sizes) + within


@rule("MaxUnpool", host="output_shape")
def max_unpool(
    x: Tensor, places: Tensor, output_shape: Any = None, *, kernel_shape: Any, pads: Any = None, strides: Any = None
) -> Tensor:
    n = len(kernel_shape)
    strides, pads = strides or [1] * n, pads or [0] * 2 * n
    sizes = [(size - 1) * s - pads[i] - pads[i + n] + k for i, (size, s, k) in enumerate(zip(x.shape[2:], strides, kernel_shape))]
    small = [*x.shape[:2], *sizes]
    shape = small if output_shape is None else ints(output_shape)
    y = torch.zeros(math.prod(small), dtype=x.dtype).scatter(0, places.reshape(-1), x.reshape(-1)).reshape(small)
    return F.pad(y, [n for have, want in zip(reversed(small), reversed(shape)) for n in (0, want - have)])


def _sums(x: Tensor, at: Windows) -> Tensor:
    """The sum of each window of ``x``, which is extended already: a convolution of each channel by ones."""
    flat = x.reshape(x.shape[0] * x.shape[1], 1, *x.shape[2:])
    summed = _CONVOLUTIONS[x.dim() - 2](flat, torch.ones(1, 1, *at.kernel, dtype=x.dtype), None, at.strides, 0, at.dilations)
    return summed.reshape(*x.shape[:2], *summed.shape[2:])


@rule("AveragePool")
def average_pool(
    x: Tensor, *, kernel_shape: Any, auto_pad: str = "NOTSET", ceil_mode: int = 0, count_include_pad: int = 0, dilations: Any = None, pads: Any = None,
    strides: Any = None,
) -> Tensor:  # fmt: skip
    at = Windows(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    plain = (
        at.symmetric
        and at.behind == at.after
        and set(at.dilations) == {1}
        and all(2 * p <= k for p, k in zip(at.before, at.kernel))
    )
    if plain:
        return _AVERAGE_POOLS[x.dim() - 2](x, at.kernel, at.strides, at.before, count_include_pad=bool(count_include_pad))
    ones = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype)
    if count_include_pad:
        ones = F.pad(ones, at.pads(at.after), value=1.0)
        counted = F.pad(ones, [n for b, a in zip(reversed(at.behind), reversed(at.after)) for n in (0, b - a)])
    else:
        counted = at.pad(ones)
    return _sums(at.pad(x), at) / _sums(counted, at)


@rule("LpPool")
def lp_pool(
    x: Tensor,
    *,
    kernel_shape: Any,
    p: float = 2,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Tensor:
    at = Windows(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    return _sums(at.pad(x.abs() ** p), at) ** (1 / p)


@rule("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    return x.mean(list(range(2, x.dim())), keepdim=True)


@rule("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    return x.amax(list(range(2, x.dim())), keepdim=True)


@rule("GlobalLpPool")
def global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    return (x.abs() ** p).sum(list(range(2, x.dim())), keepdim=True) ** (1 / p)


@rule("Col2Im", host="image_shape block_shape")
def col2im(
    x: Tensor, image_shape: Any, block_shape: Any, *, dilations: Any = None, pads: Any = None, strides: Any = None
) -> Tensor:
    """What :meth:`Windows` cut out, added up where it came from: each element of a block goes to its places by index."""
    image, block = ints(image_shape), ints(block_shape)
    at = Windows(image, block, strides, pads, dilations)
    n, count = x.shape[0], math.prod(block)
    channels = x.shape[1] // count
    whole = [size + b + a for size, b, a in zip(image, at.before, at.behind)]
    place = torch.zeros(1, 1, dtype=torch.int64)  # (elements of a block, windows)
    for i, (size, k, reach) in enumerate(zip(whole, block, at.reach)):
        starts = torch.arange((size - reach) // at.strides[i] + 1) * at.strides[i]
        one = (torch.arange(k) * at.dilations[i]).reshape(1, -1, 1, 1) + starts
        place = (place.reshape(place.shape[0], 1, place.shape[1], 1) * size + one).reshape(place.shape[0] * k, -1)
    rows = x.reshape(n * channels, -1)
    made = (
        torch.zeros(n * channels, math.prod(whole), dtype=x.dtype)
        .index_add(1, place.reshape(-1), rows)
        .reshape(n, channels, *whole)
    )
    return F.pad(made, [-p for p in at.pads()])
