"""Samples of images, taken at the places of a grid.

The formulas are written once, for arrays and for tensors: as the kernels of the primitives, and as what is recorded where a
gradient is to be differentiated in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core.dtypes import scalar_name
from flambeau.ops.joining import stack
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.vision import warn_default

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

# --- arrays and tensors --------------------------------------------------------------------------------------


class _Arrays:
    where = staticmethod(np.where)

    @staticmethod
    def floor(x):
        return np.floor(x)

    @staticmethod
    def round(x):
        return np.rint(x)

    @staticmethod
    def whole(x):
        return x.astype(np.int64)

    @staticmethod
    def mask(condition, x):
        """1 where the condition holds, else 0, in the dtype of ``x``."""
        return condition.astype(x.dtype)

    @staticmethod
    def taken(flat, index):
        """The elements (N, C, places) of (N, C, elements) at an index (N, places)."""
        return np.take_along_axis(flat, index[:, None], 2)

    @staticmethod
    def added(shape, index, values):
        """Zeros (N, C, elements) with (N, C, places, k) added at an index (N, places, k), place by place."""
        out = np.zeros(shape, values.dtype)
        starts = np.arange(0, out.size, shape[2] or 1).reshape(*shape[:2], 1, 1)
        np.add.at(out.reshape(-1), (index[:, None] + starts).ravel(), values.ravel())
        return out

    stack = staticmethod(np.stack)


class _Tensors:
    @staticmethod
    def where(condition, x, other):
        return x.where(condition, other)

    @staticmethod
    def floor(x):
        return x.detach().floor()

    @staticmethod
    def round(x):
        return x.detach().round()

    @staticmethod
    def whole(x):
        return x.long()

    @staticmethod
    def mask(condition, x):
        return condition.to(x._dtype)

    @staticmethod
    def taken(flat, index):
        return flat.gather(2, index.unsqueeze(1).expand(*flat._shape[:2], index._shape[1]))

    @staticmethod
    def added(shape, index, values):
        index = index.flatten(1).unsqueeze(1).expand(*shape[:2], -1)
        return values.new_zeros(shape).scatter_add(2, index, values.flatten(2))

    @staticmethod
    def stack(parts, axis):
        return stack(parts, axis)


def _for(x) -> Any:
    return _Tensors if isinstance(x, dispatch.Tensor) else _Arrays


# --- places --------------------------------------------------------------------------------------------------


def _scaled(grid, sizes: tuple, align_corners: bool) -> tuple[list, list]:
    """The coordinates (N, places) along each dim of the image, and how many elements a unit of the grid is there."""
    dims, shape = len(sizes), (grid.shape[0], prod(grid.shape[1:-1]))
    coordinates, units = [], []
    for d, n in enumerate(sizes):
        x = grid[..., dims - 1 - d].reshape(shape) + 1
        coordinates.append(x * ((n - 1) / 2) if align_corners else (x * n - 1) / 2)
        units.append((n - 1) / 2 if align_corners else n / 2)
    return coordinates, units


def _reflected(x, n: int, align_corners: bool) -> tuple:
    """Coordinates folded back into the image at its outermost centres, or edges; and the slopes of that, 1 or -1."""
    low, high = (0.0, n - 1.0) if align_corners else (-0.5, n - 0.5)
    span = high - low
    if span == 0:
        return x * 0, 1.0
    left, x = x < low, abs(x - low)
    rest = x % span
    turned = abs(((x - rest) / span) % 2 - 1) < 0.5
    return low + _for(x).where(turned, span - rest, rest), 1 - 2 * _for(x).mask(left ^ turned, x)


def _bounded(x, n: int, padding_mode: str, align_corners: bool) -> tuple:
    """Coordinates with what is outside brought to the border, or folded back; and the slopes of that."""
    if padding_mode == "zeros":
        return x, 1.0
    slopes: Any = 1.0
    if padding_mode == "reflection":
        x, slopes = _reflected(x, n, align_corners)
    slopes = slopes * _for(x).mask((x > 0) & (x < n - 1), x)
    return _for(x).where(x == x, x, 0.0).clip(0, n - 1), slopes  # NaN, and what an infinite one is folded to, count as 0


def _coordinates(grid, sizes: tuple, padding_mode: str, align_corners: bool) -> tuple[list, list]:
    """The coordinates in the image that places of the grid stand for, (N, places) for each dim, and how they change with the
    grid's."""
    coordinates, slopes = _scaled(grid, sizes, align_corners)
    for d, n in enumerate(sizes):
        coordinates[d], slope = _bounded(coordinates[d], n, padding_mode, align_corners)
        slopes[d] = slopes[d] * slope
    return coordinates, slopes


def _index(coordinates: list, sizes: tuple) -> tuple:
    """The numbers of the elements at whole coordinates, and which of them are inside of the image."""
    index: Any = 0
    inside: Any = True
    for x, n in zip(coordinates, sizes, strict=True):
        within = (x >= 0) & (x <= n - 1)  # NaN is outside
        inside = within & inside
        index = index * n + _for(x).whole(_for(x).where(within, x, 0.0))
    return index, inside


def _corners(coordinates: list, sizes: tuple, nearest: bool) -> Iterator[tuple]:
    """The elements around places: (which end of each dim, their numbers, whether they are inside, what each dim has them weigh)."""
    if nearest:
        yield (), *_index([_for(x).round(x) for x in coordinates], sizes), [1.0]
        return
    floors = [_for(x).floor(x) for x in coordinates]
    for ends in product((0, 1), repeat=len(sizes)):
        factors = [x - low if up else low + 1 - x for x, low, up in zip(coordinates, floors, ends, strict=True)]
        yield ends, *_index([low + up for low, up in zip(floors, ends, strict=True)], sizes), factors


def _flat(x):
    """Images, or what belongs to them, with their elements in one dim."""
    return x.reshape((*x.shape[:2], prod(x.shape[2:])))


def _taken(flat, index, inside):
    return _for(flat).where(inside[:, None], _for(flat).taken(flat, index), 0.0)


# --- samples and their gradients -----------------------------------------------------------------------------


def _sampled(input, grid, mode, padding_mode, align_corners):
    sizes = input.shape[2:]
    flat = _flat(input)
    total: Any = None
    coordinates, _ = _coordinates(grid, sizes, padding_mode, align_corners)
    for _, index, inside, factors in _corners(coordinates, sizes, mode == "nearest"):
        part = _taken(flat, index, inside)
        if mode != "nearest":
            part = part * prod(factors)[:, None]
        total = part if total is None else total + part
    return total.reshape((*input.shape[:2], *grid.shape[1:-1]))


def _scattered(g, grid, sizes, mode, padding_mode, align_corners):
    """The gradient of the images."""
    flat, use = _flat(g), _for(g)
    coordinates, _ = _coordinates(grid, sizes, padding_mode, align_corners)
    indices, parts = [], []
    for _, index, inside, factors in _corners(coordinates, sizes, mode == "nearest"):
        part = flat if mode == "nearest" else flat * prod(factors)[:, None]
        indices.append(index)
        parts.append(use.where(inside[:, None], part, 0.0))
    shape = (*g.shape[:2], prod(sizes))
    return use.added(shape, use.stack(indices, -1), use.stack(parts, -1)).reshape((*shape[:2], *sizes))


def _sloped(g, input, grid, padding_mode, align_corners):
    """The gradient of the grid; that of nearest elements is 0."""
    sizes, flat, g = input.shape[2:], _flat(input), _flat(g)
    coordinates, slopes = _coordinates(grid, sizes, padding_mode, align_corners)
    found: list = [0.0] * len(sizes)
    for ends, index, inside, factors in _corners(coordinates, sizes, False):
        weight = (_taken(flat, index, inside) * g).sum(1)
        for d, up in enumerate(ends):
            rest = prod(factors[:d] + factors[d + 1 :])
            found[d] = found[d] + (weight if up else -weight) * rest
    parts = [x * slope for x, slope in zip(found, slopes, strict=True)]
    return _for(g).stack(parts[::-1], -1).reshape(tuple(grid.shape))


@op(name="_grid_scatter", tensors="grad grid", kernel=_scattered, method=False)
def _grid_scatter(grad: Tensor, grid: Tensor, sizes: Sequence[int], mode, padding_mode, align_corners):
    attrs = {"sizes": sizes, "mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    return (*grad._shape[:2], *sizes), grad._dtype, (grad, grid), attrs


@op(name="_grid_slopes", tensors="grad input grid", kernel=_sloped, method=False)
def _grid_slopes(grad: Tensor, input: Tensor, grid: Tensor, padding_mode, align_corners):
    return grid._shape, grid._dtype, (grad, input, grid), {"padding_mode": padding_mode, "align_corners": align_corners}


def _gradient_of_input(g, grid, input_shape, mode, padding_mode, align_corners):
    how = _scattered if dispatch.grad_mode.enabled else _grid_scatter
    return how(g, grid, input_shape[2:], mode, padding_mode, align_corners)


def _gradient_of_grid(g, input, grid, mode, padding_mode, align_corners):
    if mode == "nearest":
        return g.new_zeros(grid._shape)
    how = _sloped if dispatch.grad_mode.enabled else _grid_slopes
    return how(g, input, grid, padding_mode, align_corners)


@op(
    name="_grid_sample",
    tensors="input grid",
    kernel=_sampled,
    grad={"input": _gradient_of_input, "grid": _gradient_of_grid},
    method=False,
    backward_name="GridSampler2DBackward0",
    overload=lambda inputs, attrs: f"GridSampler{len(inputs[0].shape) - 2}DBackward0",
)
def _grid_sample(input: Tensor, grid: Tensor, mode, padding_mode, align_corners):
    """:func:`grid_sample` of one of the nearest elements, or of those around, after the checks."""
    attrs = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    return (*input._shape[:2], *grid._shape[1:-1]), input._dtype, (input, grid), attrs


# --- four by four elements -----------------------------------------------------------------------------------


def _cubic_weights(t, a: float = -0.75) -> list:
    """Keys' cubic convolution kernel at 1 + t, t, 1 - t and 2 - t."""

    def near(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _bicubic(input, grid, padding_mode: str, align_corners: bool):
    sizes, flat = input._shape[2:], _flat(input)
    total: Any = None
    coordinates, _ = _scaled(grid, sizes, align_corners)
    floors = [x.detach().floor() for x in coordinates]
    weights = [_cubic_weights(x - low) for x, low in zip(coordinates, floors, strict=True)]
    for i in range(4):
        row = None
        for j in range(4):
            places = [
                _bounded(low + k - 1, n, padding_mode, align_corners)[0] for low, k, n in zip(floors, (i, j), sizes, strict=True)
            ]
            part = _taken(flat, *_index(places, sizes)) * weights[1][j].unsqueeze(1)
            row = part if row is None else row + part
        part = row * weights[0][i].unsqueeze(1)
        total = part if total is None else total + part
    return total.reshape((*input._shape[:2], *grid._shape[1:-1]))


# --- what programs call --------------------------------------------------------------------------------------


def _check_grid(input, grid, mode: str, padding_mode: str) -> None:
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    shapes = f"but got input with sizes {list(input._shape)} and grid with sizes {list(grid._shape)}"
    if input._shape[:1] != grid._shape[:1]:
        raise RuntimeError(f"grid_sampler(): expected grid and input to have same batch size, {shapes}")
    dims = input.dim() - 2
    if grid._shape[-1] != dims:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {dims} in last dimension, but got grid with sizes {list(grid._shape)}"
        )
    if dims not in (2, 3) or grid.dim() != input.dim():
        raise RuntimeError(
            f"grid_sampler(): expected {4 if dims < 3 else 5}D input and grid with same number of dimensions, {shapes}"
        )
    for d in range(2, dims + 2):
        if input._shape[d] == 0:
            raise RuntimeError(
                "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes "
                f"{list(input._shape)} with dimension {d} being empty"
            )
    if mode == "bicubic" and dims == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if input._dtype is not grid._dtype:
        raise RuntimeError(
            f"expected scalar type {scalar_name(input._dtype)} but found {scalar_name(grid._dtype)}: input and grid must "
            "have the same dtype"
        )


@composite(
    name="nn.functional.grid_sample",
    samples=lambda make: [
        Sample(make(1, 2, 3, 4), make(1, 2, 2, 2, low=-0.9, high=0.9), align_corners=False),
        Sample(make(1, 1, 3, 3), make(1, 2, 2, 2, low=-1.4, high=1.4), padding_mode="border", align_corners=True),
        Sample(make(1, 1, 3, 3), make(1, 2, 2, 2, low=-1.4, high=1.4), padding_mode="reflection", align_corners=False),
        Sample(make(1, 1, 3, 3), make(1, 2, 2, 2, low=-0.9, high=0.9), "bicubic", align_corners=False),
        Sample(make(1, 1, 3, 3), make(1, 2, 2, 2, low=-0.9, high=0.9), "nearest", align_corners=False),
        Sample(make(1, 1, 2, 2, 3), make(1, 1, 2, 1, 3, low=-0.9, high=0.9), align_corners=True),
    ],
    errors=lambda make: [
        ErrorSample(ValueError, "expected mode to be", make(1, 1, 3, 3), make(1, 2, 2, 2), "linear", align_corners=True),
        ErrorSample(RuntimeError, "same batch size", make(1, 1, 3, 3), make(2, 2, 2, 2), align_corners=True),
        ErrorSample(RuntimeError, "size 2 in last dimension", make(1, 1, 3, 3), make(1, 2, 2, 3), align_corners=True),
    ],
)
def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """The values of an input (N, C, H, W) at the places of a grid (N, h, w, 2): (N, C, h, w). Likewise in three dims.

    A place is (x, y) with -1 and 1 at the left and right, or upper and lower, border: the outermost centres with
    ``align_corners``, else the outermost edges. ``mode``: ``"bilinear"``, ``"nearest"`` or ``"bicubic"``. Outside the
    image ``padding_mode`` ``"zeros"`` gives 0, ``"border"`` the border's value, ``"reflection"`` the mirror image.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> image = torch.tensor([[[[1.0, 3.0]]]])
    >>> F.grid_sample(image, torch.tensor([[[[0.0, 0.0], [1.0, 0.0]]]]), align_corners=True)
    tensor([[[[2., 3.]]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html
    """
    _check_grid(input, grid, mode, padding_mode)
    align_corners = warn_default(align_corners)
    if mode == "bicubic":
        return _bicubic(input, grid, padding_mode, align_corners)
    return _grid_sample(input, grid, mode, padding_mode, align_corners)
