"""Images: channels and pixels rearranged, and samples taken on a grid."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.errors import warn
from flambeau.ops import layouts, pooling_fractional, resize, unfold  # noqa: F401  (the other families for images)
from flambeau.ops.record import ErrorSample, Sample, composite

# --- channels and pixels -------------------------------------------------------------------------------------


@composite(
    layout=layouts.channels_last,
    name="nn.functional.pixel_shuffle",
    aliases=("pixel_shuffle",),
    samples=lambda make: [Sample(make(1, 4, 2, 3), 2), Sample(make(9, 1, 2), 3)],
    errors=lambda make: [
        ErrorSample(RuntimeError, "divisible by the square of upscale_factor", make(1, 3, 2, 2), 2),
        ErrorSample(RuntimeError, "at least 3 dimensions", make(4, 2), 2),
        ErrorSample(RuntimeError, "positive upscale_factor", make(1, 4, 2, 2), 0),
    ],
)
def pixel_shuffle(input, upscale_factor):
    """(\\*, C r r, H, W) rearranged to (\\*, C, H r, W r), with r = ``upscale_factor``.

    Source: Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN (2016)
    """
    if input.dim() < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)"
        )
    r = upscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, channels, h, w = input._shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
            f"input.size(-3)={channels} is not divisible by {r * r}"
        )
    c, n = channels // (r * r), len(lead)
    split = input.reshape(*lead, c, r, r, h, w)
    return split.permute(*range(n + 1), n + 3, n + 1, n + 4, n + 2).reshape(*lead, c, h * r, w * r)


@composite(
    layout=layouts.channels_last,
    name="nn.functional.pixel_unshuffle",
    aliases=("pixel_unshuffle",),
    samples=lambda make: [Sample(make(1, 1, 4, 2), 2), Sample(make(2, 3, 3), 3)],
    errors=lambda make: [
        ErrorSample(RuntimeError, "expects height to be divisible by", make(1, 1, 3, 4), 2),
        ErrorSample(RuntimeError, "expects width to be divisible by", make(1, 1, 4, 3), 2),
        ErrorSample(RuntimeError, "positive downscale_factor", make(1, 4, 2, 2), 0),
    ],
)
def pixel_unshuffle(input, downscale_factor):
    """(\\*, C, H r, W r) rearranged to (\\*, C r r, H, W), with r = ``downscale_factor``: undoes :func:`pixel_shuffle`."""
    if input.dim() < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)"
        )
    r = downscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, c, h, w = input._shape
    for what, size, d in (("height", h, -2), ("width", w, -1)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {what} to be divisible by downscale_factor, but input.size({d})={size} is not "
                f"divisible by {r}"
            )
    n = len(lead)
    split = input.reshape(*lead, c, h // r, r, w // r, r)
    return split.permute(*range(n + 1), n + 2, n + 4, n + 1, n + 3).reshape(*lead, c * r * r, h // r, w // r).contiguous()


@composite(
    layout=layouts.channels_last,
    name="nn.functional.channel_shuffle",
    aliases=("channel_shuffle", "native_channel_shuffle", "nn.functional.native_channel_shuffle"),
    samples=lambda make: [Sample(make(1, 4, 2), 2), Sample(make(2, 6, 1, 2), 3)],
    errors=lambda make: [
        ErrorSample(RuntimeError, "must be divisible by groups", make(1, 3, 2, 2), 2),
        ErrorSample(RuntimeError, "input with > 2 dims", make(4, 2), 2),
        ErrorSample(RuntimeError, "must be positive", make(1, 4, 2), 0),
    ],
)
def channel_shuffle(input, groups):
    """The channels of an input (N, C, ...), seen as (groups, C / groups), transposed.

    Source: Zhang et al., ShuffleNet (2017)
    """
    if input.dim() < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input._shape)}"
        )
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    n, c, *spatial = input._shape
    if c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    return input.reshape(n, groups, c // groups, *spatial).transpose(1, 2).reshape(input._shape)


# --- affine grids --------------------------------------------------------------------------------------------


def _warn_default(align_corners: bool | None) -> bool:
    if align_corners is None:
        warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
            "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details.",
        )
    return bool(align_corners)


def _evenly(n: int, align_corners: bool) -> np.ndarray:
    """The coordinates of ``n`` elements, where -1 and 1 are the outermost ones' centres, or their outer edges."""
    at = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
    return at if align_corners else at * ((n - 1) / n)


@composite(
    name="nn.functional.affine_grid",
    samples=lambda make: [
        Sample(make(1, 2, 3), (1, 1, 2, 3), align_corners=False),
        Sample(make(2, 2, 3), (2, 1, 3, 2), align_corners=True),
        Sample(make(1, 3, 4), (1, 1, 2, 1, 2), align_corners=False),
    ],
    errors=lambda make: [
        ErrorSample(ValueError, "of shape Nx2x3", make(1, 3, 4), (1, 1, 2, 2), False),
        ErrorSample(NotImplementedError, "only supports 4D and 5D sizes", make(1, 2, 3), (1, 1, 2), False),
        ErrorSample(ValueError, "Expected non-zero, positive output size", make(1, 2, 3), (1, 1, 2, 0), False),
    ],
)
def affine_grid(theta, size, align_corners=None):
    """The grid for :func:`grid_sample` that maps an image by the affine matrices ``theta``.

    ``theta`` (N, 2, 3) and ``size`` (N, C, H, W) make a grid (N, H, W, 2); (N, 3, 4) and (N, C, D, H, W) one
    (N, D, H, W, 3). ``align_corners`` as for :func:`grid_sample`.
    Source: Jaderberg et al., Spatial Transformer Networks (2015)
    """
    size = tuple(size)
    if theta._dtype.kind != dtypes.FLOATING:
        raise ValueError(f"Expected theta to have floating point type, but got {theta._dtype}")
    if len(size) not in (4, 5):
        raise NotImplementedError(
            f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size {size}."
        )
    dims = len(size) - 2
    if theta.dim() != 3 or theta._shape[1:] != (dims, dims + 1):
        raise ValueError(
            f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size {size}. Got {theta._shape}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    align_corners = _warn_default(align_corners)
    n, _, *spatial = size
    if align_corners and min(spatial) == 1:
        warn(
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. This is not an intended "
            "use case of affine_grid. See the documentation of affine_grid for details.",
        )
    axes = np.meshgrid(*[_evenly(s, align_corners) for s in spatial], indexing="ij")
    base = np.stack([*axes[::-1], np.ones(spatial)], -1).reshape(1, -1, dims + 1)
    base = dispatch.wrap(base, theta._dtype).expand(n, prod(spatial), dims + 1)
    return base.bmm(theta.transpose(1, 2)).reshape(n, *spatial, dims)


# --- sampling on a grid --------------------------------------------------------------------------------------


def _reflected(x, n: int, align_corners: bool):
    """Coordinates folded back into the image at its outermost centres, or edges."""
    low, high = (0.0, n - 1.0) if align_corners else (-0.5, n - 0.5)
    span = high - low
    if span == 0:
        return x * 0
    x = (x - low).abs()
    rest = x.fmod(span)
    odd = (x / span).floor().remainder(2) == 1
    return low + (span - rest).where(odd, rest)


def _bounded(x, n: int, padding_mode: str, align_corners: bool):
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        x = _reflected(x, n, align_corners)
    return x.nan_to_num(0.0).clamp(0, n - 1)  # NaN, and what an infinite one is folded to, count as 0


class _Image:
    """An input whose values can be taken at whole coordinates; zero outside."""

    def __init__(self, input) -> None:
        self.sizes = input._shape[2:]
        self.flat = input.reshape(*input._shape[:2], prod(self.sizes))

    def at(self, coordinates: list):
        """The values (N, C, places) at coordinates (N, places), one for each spatial dim."""
        index, inside = 0, None
        for x, n in zip(coordinates, self.sizes, strict=True):
            within = (x >= 0) & (x <= n - 1)
            inside = within if inside is None else inside & within
            index = index * n + x.clamp(0, n - 1).nan_to_num(0.0).long()  # NaN is outside
        shape = (*self.flat._shape[:2], index._shape[1])
        values = self.flat.gather(2, index.unsqueeze(1).expand(shape))
        return values.masked_fill(~inside.unsqueeze(1), 0)


def _multilinear(image: _Image, coordinates: list):
    floors = [x.detach().floor() for x in coordinates]
    total = None
    for corner in product((0, 1), repeat=len(floors)):
        weight = 1
        for x, low, up in zip(coordinates, floors, corner, strict=True):
            weight = weight * (x - low if up else low + 1 - x)
        part = image.at([low + up for low, up in zip(floors, corner, strict=True)]) * weight.unsqueeze(1)
        total = part if total is None else total + part
    return total


def _cubic_weights(t, a: float = -0.75) -> list:
    """Keys' cubic convolution kernel at 1 + t, t, 1 - t and 2 - t."""

    def near(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _bicubic(image: _Image, coordinates: list, padding_mode: str, align_corners: bool):
    floors = [x.detach().floor() for x in coordinates]
    weights = [_cubic_weights(x - low) for x, low in zip(coordinates, floors, strict=True)]
    total = None
    for i in range(4):
        row = None
        for j in range(4):
            places = [
                _bounded(low + k - 1, n, padding_mode, align_corners)
                for low, k, n in zip(floors, (i, j), image.sizes, strict=True)
            ]
            part = image.at(places) * weights[1][j].unsqueeze(1)
            row = part if row is None else row + part
        part = row * weights[0][i].unsqueeze(1)
        total = part if total is None else total + part
    return total


def _check_grid(input, grid, mode: str, padding_mode: str) -> None:
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
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
            f"grid_sampler(): expected grid to have size {dims} in last dimension, but got grid with sizes "
            f"{list(grid._shape)}"
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
        ErrorSample(
            ValueError, "expected mode to be", make(1, 1, 3, 3), make(1, 2, 2, 2), "linear", align_corners=True
        ),
        ErrorSample(RuntimeError, "same batch size", make(1, 1, 3, 3), make(2, 2, 2, 2), align_corners=True),
        ErrorSample(RuntimeError, "size 2 in last dimension", make(1, 1, 3, 3), make(1, 2, 2, 3), align_corners=True),
    ],
)
def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """The values of an input (N, C, H, W) at the places of a grid (N, h, w, 2): (N, C, h, w). Likewise in three dims.

    A place is (x, y) with -1 and 1 at the left and right, or upper and lower, border: the outermost centres with
    ``align_corners``, else the outermost edges. ``mode``: ``"bilinear"``, ``"nearest"`` or ``"bicubic"``. Outside the
    image ``padding_mode`` ``"zeros"`` gives 0, ``"border"`` the border's value, ``"reflection"`` the mirror image.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html
    """
    _check_grid(input, grid, mode, padding_mode)
    align_corners = _warn_default(align_corners)
    image = _Image(input)
    n, *places, dims = grid._shape
    coordinates = []
    for d, size in enumerate(image.sizes):
        x = grid.select(-1, dims - 1 - d).reshape(n, prod(places))
        x = (x + 1) * ((size - 1) / 2) if align_corners else ((x + 1) * size - 1) / 2
        coordinates.append(x if mode == "bicubic" else _bounded(x, size, padding_mode, align_corners))
    if mode == "nearest":
        result = image.at([x.round() for x in coordinates])
        if grid.requires_grad:  # the result depends on the grid, though its gradient is 0
            result = result - (coordinates[0] * 0).nan_to_num(0.0).abs().unsqueeze(1)
    elif mode == "bilinear":
        result = _multilinear(image, coordinates)
    else:
        result = _bicubic(image, coordinates, padding_mode, align_corners)
    return result.reshape(n, input._shape[1], *places)
