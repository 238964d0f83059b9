"""Images: channels and pixels rearranged, and affine grids."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.errors import warn
from flambeau.ops import layouts, pooling_fractional, resize, unfold  # noqa: F401  (the other families for images)
from flambeau.ops.record import ErrorSample, Sample, composite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

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
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(\\*, C r r, H, W) rearranged to (\\*, C, H r, W r), with r = ``upscale_factor``.

    Raises ``RuntimeError`` for channels that the square of the factor does not divide.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.pixel_shuffle(torch.tensor([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]), 2)
    tensor([[[1., 2.],
             [3., 4.]]])

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
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(\\*, C, H r, W r) rearranged to (\\*, C r r, H, W), with r = ``downscale_factor``: undoes :func:`pixel_shuffle`.

    Raises ``RuntimeError`` for heights and widths that the factor does not divide.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.pixel_unshuffle(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2).flatten()
    tensor([1., 2., 3., 4.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pixel_unshuffle.html
    """
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
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of an input (N, C, ...), seen as (groups, C / groups), transposed.

    Raises ``RuntimeError`` for channels that ``groups`` does not divide.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.channel_shuffle(torch.arange(4.0).reshape(1, 4, 1, 1), 2).flatten()
    tensor([0., 2., 1., 3.])

    Source: Zhang et al., ShuffleNet (2017)
    """
    if input.dim() < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input._shape)}")
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    n, c, *spatial = input._shape
    if c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    return input.reshape(n, groups, c // groups, *spatial).transpose(1, 2).reshape(input._shape)


# --- affine grids --------------------------------------------------------------------------------------------


def warn_default(align_corners: bool | None) -> bool:
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
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid for :func:`grid_sample` that maps an image by the affine matrices ``theta``.

    ``theta`` (N, 2, 3) and ``size`` (N, C, H, W) make a grid (N, H, W, 2); (N, 3, 4) and (N, C, D, H, W) one
    (N, D, H, W, 3). ``align_corners`` as for :func:`grid_sample`.

    Raises ``ValueError`` for a ``theta`` that does not fit ``size``, ``NotImplementedError`` for sizes of other than
    4 or 5 dims.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.affine_grid(torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 2, 2), align_corners=True)
    tensor([[[[-1., -1.],
              [ 1., -1.]],
    <BLANKLINE>
             [[-1.,  1.],
              [ 1.,  1.]]]])

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
    align_corners = warn_default(align_corners)
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
