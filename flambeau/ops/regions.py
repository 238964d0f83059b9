"""Regions of images: boxes that suppress each other, features pooled in boxes.

These are torchvision's operators, ``torch.ops.torchvision``; the file is imported when one of them is first used. All pooled
features are sums with weights. Where samples are interpolated, the weights of a box are a product of weights of rows and of
columns, so pooling it is two small matrix products.

Sources: https://docs.pytorch.org/vision/stable/ops.html; He et al., "Mask R-CNN", 2017 (RoIAlign); Girshick, "Fast R-CNN", 2015
(RoI pooling); Dai et al., "R-FCN", 2016 (position-sensitive pooling).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.ops.joining import cat
from flambeau.ops.record import ErrorSample, Sample, op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

# --- suppression ---------------------------------------------------------------------------------------------


def _suppress(dets, scores, threshold):
    """The places of the boxes that stay, the best first. Overlaps are compared as they are in C++: float32 with a double."""
    order = np.argsort(-scores, kind="stable")
    if np.isnan(scores).any():  # the greatest of all
        order = np.concatenate([order[np.isnan(scores[order])], order[~np.isnan(scores[order])]])
    left, top, right, bottom = np.ascontiguousarray(dets[order].T)
    zero = dets.dtype.type(0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        areas = (right - left) * (bottom - top)
    alive = np.ones(len(order), bool)
    kept = []
    for i in range(len(order)):
        if not alive[i]:
            continue
        kept.append(order[i])
        rest = i + 1 + np.flatnonzero(alive[i + 1 :])
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            width = np.maximum(zero, np.minimum(right[i], right[rest]) - np.maximum(left[i], left[rest]))
            height = np.maximum(zero, np.minimum(bottom[i], bottom[rest]) - np.maximum(top[i], top[rest]))
            both = width * height
            overlap = both / (areas[i] + areas[rest] - both)
        alive[rest[overlap.astype(np.float64) > threshold]] = False
    return np.array(kept, np.int64)


def _boxes(make, n: int):
    corner = make(n, 2, low=0, high=6, requires_grad=False)
    return cat([corner, corner + make(n, 2, low=1, high=5, requires_grad=False)], 1)


@op(
    name="torchvision.nms",
    kernel=_suppress,
    tensors="dets scores",
    eager=True,
    samples=lambda make: [
        Sample(_boxes(make, 12), make(12, requires_grad=False), 0.3),
        Sample(_boxes(make, 0), make(0, requires_grad=False), 0.3),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "boxes should be a 2d tensor, got 1D", make(4), make(4), 0.5),
        ErrorSample(RuntimeError, "boxes should have 4 elements in dimension 1, got 5", make(4, 5), make(4), 0.5),
        ErrorSample(RuntimeError, "scores should be a 1d tensor, got 2D", make(4, 4), make(4, 1), 0.5),
        ErrorSample(RuntimeError, "same number of elements in dimension 0, got 4 and 3", make(4, 4), make(3), 0.5),
        ErrorSample(RuntimeError, "dets should have the same type as scores", make(4, 4), make(4).float(), 0.5),
    ],
)
def nms(dets: Tensor, scores: Tensor, iou_threshold: float):
    """The boxes that no better box overlaps by more than ``iou_threshold``: their indices, the best scores first.

    Args:
        dets: corners ``(x1, y1, x2, y2)``, shape (N, 4).
        scores: shape (N).
        iou_threshold: the area that two boxes share, as a part of the area that they cover.

    Raises ``RuntimeError`` for shapes and dtypes that do not fit.

    >>> import flambeau as torch
    >>> boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1.9], [5, 5, 6, 6]])
    >>> torch.ops.torchvision.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5)
    tensor([1, 2])

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.ops.nms.html
    """
    if dets.dim() != 2:
        raise RuntimeError(f"boxes should be a 2d tensor, got {dets.dim()}D")
    if dets.shape[1] != 4:
        raise RuntimeError(f"boxes should have 4 elements in dimension 1, got {dets.shape[1]}")
    if scores.dim() != 1:
        raise RuntimeError(f"scores should be a 1d tensor, got {scores.dim()}D")
    if dets.shape[0] != scores.shape[0]:
        raise RuntimeError(
            f"boxes and scores should have same number of elements in dimension 0, got {dets.shape[0]} and {scores.shape[0]}"
        )
    if dets.dtype is not scores.dtype:
        raise RuntimeError("dets should have the same type as scores")
    if dets.dtype not in (dtypes.float32, dtypes.float64):
        raise NotImplementedError(f"\"nms_kernel\" not implemented for '{scalar_name(dets.dtype)}'")
    return None, dtypes.int64, (dets, scores), {"threshold": float(iou_threshold)}


# --- boxes ---------------------------------------------------------------------------------------------------


def _check(name: str, input, rois, pooled=None) -> None:
    if input.dim() != 4:
        raise RuntimeError(f"{name}: expected input (N, C, H, W), got {input.dim()}D")
    if rois.dim() != 2 or rois.shape[1] != 5:
        raise RuntimeError(f"rois must have shape as Tensor[K, 5], got {list(rois.shape)}")
    if input.dtype is not rois.dtype:
        raise RuntimeError(
            f"Expected tensor for input to have the same type as tensor for rois; but type {input.dtype} does not equal {rois.dtype}"
        )
    if input.dtype.kind != dtypes.FLOATING:
        raise NotImplementedError(f"\"{name}_forward_kernel\" not implemented for '{scalar_name(input.dtype)}'")
    if pooled is not None and input.shape[1] % prod(pooled):
        raise RuntimeError("input channels must be a multiple of pooling height * pooling width")


def _image(roi, count: int) -> int:
    found = int(roi[0])
    if not 0 <= found < count:
        raise IndexError(f"a region is of image {found}, but there are {count} images")
    return found


def _line(start, extent, pooled: int, sampling: int, size: int, least: int):
    """Weights (pooled, size) of one axis of a box: each bin is the mean of samples, and each sample between two elements.

    A bin of no samples is zero where ``least`` is 1, else 0 / 0.
    """
    T = type(start)
    width = extent / T(pooled)
    each = sampling if sampling > 0 else max(int(np.ceil(extent / T(pooled))) if np.isfinite(extent) else 0, 0)
    weights = np.zeros((pooled, size), T)
    if each and size:
        steps = (np.arange(each, dtype=T) + T(0.5)) * width / T(each)
        at = start + np.arange(pooled, dtype=T)[:, None] * width + steps
        inside = (at >= -1) & (at <= size)
        at = np.where(inside, np.maximum(at, T(0)), T(0))
        low = at.astype(np.int64)
        last = low >= size - 1
        low = np.minimum(low, size - 1)
        share = np.where(last, T(0), at - low.astype(T))
        rows = np.broadcast_to(np.arange(pooled)[:, None], low.shape)
        np.add.at(weights, (rows, low), np.where(inside, T(1) - share, T(0)))
        np.add.at(weights, (rows, np.minimum(low + 1, size - 1)), np.where(inside, share, T(0)))
    with np.errstate(invalid="ignore"):
        return weights / T(max(each, least))


def _lines(roi, scale: float, pooled, sampling: int, size, offset: float, at_least_one: bool, least: int):
    """The weights of a box's rows and columns, and the parts of the image that they are not zero in."""
    T = roi.dtype.type
    x1, y1, x2, y2 = roi[1:] * T(scale) - T(offset)
    extents = [y2 - y1, x2 - x1]
    if at_least_one:
        extents = [max(e, T(1)) for e in extents]
    lines = [_line(s, e, p, sampling, n, least) for s, e, p, n in zip((y1, x1), extents, pooled, size, strict=True)]
    parts = []
    for line in lines:
        used = np.flatnonzero(line.any(0))
        parts.append(slice(used[0], used[-1] + 1) if len(used) else slice(0, 0 if least else None))
    return [line[:, part] for line, part in zip(lines, parts, strict=True)], parts


def _align(input, rois, scale, pooled, sampling, aligned):
    n, channels, *size = input.shape
    out = np.zeros((len(rois), channels, *pooled), input.dtype)
    for k, roi in enumerate(rois):
        (rows, columns), (y, x) = _lines(roi, scale, pooled, sampling, size, 0.5 if aligned else 0.0, not aligned, 1)
        out[k] = rows @ input[_image(roi, n), :, y, x] @ columns.T
    return out


def _align_grad(grad, rois, scale, pooled, sampling, aligned, shape):
    out = np.zeros(shape, grad.dtype)
    for k, roi in enumerate(rois):
        (rows, columns), (y, x) = _lines(roi, scale, pooled, sampling, shape[2:], 0.5 if aligned else 0.0, not aligned, 1)
        out[_image(roi, shape[0]), :, y, x] += rows.T @ grad[k] @ columns
    return out


def _regions(make, n: int, images: int = 2, size: float = 5.0):
    corner = make(n, 2, low=-1, high=size, requires_grad=False)
    image = dispatch.wrap(np.arange(n).reshape(n, 1) % images, make.dtype)
    return cat([image, corner, corner + make(n, 2, low=0.5, high=size, requires_grad=False)], 1)


def _region_samples(*settings, channels: int = 2):
    return lambda make: [Sample(make(2, channels, 5, 6), _regions(make, 3), *s) for s in settings]


def _region_errors(*settings):
    return lambda make: [
        ErrorSample(RuntimeError, r"rois must have shape as Tensor\[K, 5\]", make(1, 4, 5, 5), make(2, 4), *settings),
        ErrorSample(
            RuntimeError, "Expected tensor for input to have the same type", make(1, 4, 5, 5).float(), make(2, 5), *settings
        ),
        ErrorSample(IndexError, "a region is of image 7", make(1, 4, 5, 5), make(2, 5, low=7, high=7), *settings),
    ]


@op(
    name="torchvision._roi_align_grad",
    kernel=_align_grad,
    tensors="grad rois",
    checked=True,
    grad={"grad": lambda g, rois, scale, pooled, sampling, aligned: roi_align(g, rois, scale, *pooled, sampling, aligned)},
    backward_name="RoiAlignBackwardBackward0",
)
def roi_align_grad(grad: Tensor, rois: Tensor, scale, pooled, sampling, aligned, shape: Sequence[int]):
    """The gradient of :func:`roi_align`, which is linear in its input."""
    return tuple(shape), grad.dtype, (grad, rois), {
        "scale": float(scale), "pooled": tuple(pooled), "sampling": sampling, "aligned": aligned, "shape": tuple(shape),
    }  # fmt: skip


@op(
    name="torchvision.roi_align",
    kernel=_align,
    tensors="input rois",
    checked=True,
    grad={
        "input": lambda g, rois, input_shape, scale, pooled, sampling, aligned: roi_align_grad(
            g, rois, scale, pooled, sampling, aligned, input_shape
        )
    },
    samples=_region_samples((0.5, 2, 3, 2, False), (1.0, 2, 2, -1, True), (0.7, 1, 1, 0, False)),
    errors=_region_errors(1.0, 2, 2, 2, False),
)
def roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
):
    """The mean of samples, interpolated between four elements, in each of ``pooled_height`` x ``pooled_width`` bins of a box.

    Args:
        input: features (N, C, H, W).
        rois: boxes (K, 5): the image's index and the corners ``(x1, y1, x2, y2)``, which ``spatial_scale`` is multiplied with.
        sampling_ratio: how many samples a bin has along each side; 0 or less: one for each element that it covers.
        aligned: whether pixels' centres are at half-integers; then boxes may be smaller than a pixel.

    Returns:
        (K, C, pooled_height, pooled_width).

    >>> import flambeau as torch
    >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> torch.ops.torchvision.roi_align(x, torch.tensor([[0.0, 0, 0, 3, 3]]), 1.0, 1, 1, 2, False)
    tensor([[[[7.5000]]]])

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.ops.roi_align.html
    """
    _check("roi_align", input, rois)
    return (rois.shape[0], input.shape[1], pooled_height, pooled_width), input.dtype, (input, rois), {
        "scale": float(spatial_scale), "pooled": (pooled_height, pooled_width), "sampling": sampling_ratio, "aligned": bool(aligned),
    }  # fmt: skip


def _own_channels(input, pooled):
    """A view of the input's channels in which each bin has its own."""
    return input.reshape(input.shape[0], -1, *pooled, *input.shape[2:])


def _ps_align(input, rois, scale, pooled, sampling):
    bins = _own_channels(input, pooled)
    out = np.zeros((len(rois), bins.shape[1], *pooled), input.dtype)
    for k, roi in enumerate(rois):
        (rows, columns), (y, x) = _lines(roi, scale, pooled, sampling, input.shape[2:], 0.5, False, 0)
        part = bins[_image(roi, len(input)), ..., y, x]
        out[k] = np.einsum("cpqhw,ph,qw->cpq", part, rows, columns, optimize=True)
    return out, _mapping(out.shape)


def _ps_align_grad(grad, rois, scale, pooled, sampling, shape):
    out = np.zeros(shape, grad.dtype)
    bins = _own_channels(out, pooled)
    for k, roi in enumerate(rois):
        (rows, columns), (y, x) = _lines(roi, scale, pooled, sampling, shape[2:], 0.5, False, 0)
        bins[_image(roi, shape[0]), ..., y, x] += np.einsum("cpq,ph,qw->cpqhw", grad[k], rows, columns, optimize=True)
    return out


def _mapping(shape):
    """For each result of position-sensitive pooling the input's channel that it is of."""
    return np.broadcast_to(np.arange(prod(shape[1:]), dtype=np.int32).reshape(shape[1:]), shape).copy()


def _ps_shapes(input, rois, pooled):
    shape = (rois.shape[0], input.shape[1] // prod(pooled), *pooled)
    return (shape, shape), (input.dtype, dtypes.int32)


@op(
    name="torchvision._ps_roi_align_grad",
    kernel=_ps_align_grad,
    tensors="grad rois",
    checked=True,
    grad={"grad": lambda g, rois, scale, pooled, sampling: ps_roi_align(g, rois, scale, *pooled, sampling)[0]},
    backward_name="PsRoiAlignBackwardBackward0",
)
def ps_roi_align_grad(grad: Tensor, rois: Tensor, scale, pooled, sampling, shape: Sequence[int]):
    """The gradient of :func:`ps_roi_align`."""
    return tuple(shape), grad.dtype, (grad, rois), {
        "scale": float(scale), "pooled": tuple(pooled), "sampling": sampling, "shape": tuple(shape),
    }  # fmt: skip


@op(
    name="torchvision.ps_roi_align",
    kernel=_ps_align,
    tensors="input rois",
    checked=True,
    outputs=("output", "channel_mapping"),
    nondifferentiable=("channel_mapping",),
    grad={
        "input": lambda g, rois, input_shape, scale, pooled, sampling: ps_roi_align_grad(
            g, rois, scale, pooled, sampling, input_shape
        )
    },
    samples=_region_samples((0.5, 2, 2, 2), (1.0, 1, 2, -1), channels=4),
    errors=_region_errors(1.0, 2, 2, 2),
)
def ps_roi_align(input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int, sampling_ratio: int):
    """:func:`roi_align` where each bin has channels of its own; and which channel each result is of.

    Of input (N, C, H, W) the results are (K, C / (pooled_height * pooled_width), pooled_height, pooled_width).

    >>> import flambeau as torch
    >>> x = torch.arange(2.0).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)  # channel 0 is zeros, channel 1 ones
    >>> torch.ops.torchvision.ps_roi_align(x, torch.tensor([[0.0, 0, 0, 3, 3]]), 1.0, 1, 2, 2)[0]
    tensor([[[[0., 1.]]]])

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.ops.ps_roi_align.html
    """
    pooled = (pooled_height, pooled_width)
    _check("ps_roi_align", input, rois, pooled)
    return (
        *_ps_shapes(input, rois, pooled),
        (input, rois),
        {"scale": float(spatial_scale), "pooled": pooled, "sampling": sampling_ratio},
    )


def _rounded(values):
    """The nearest integers, halves away from zero as in C."""
    return (np.sign(values) * np.floor(np.abs(values) + values.dtype.type(0.5))).astype(np.int64)


def _bins(start: int, extent: int, pooled: int, most: int, T):
    """Where each bin of an axis begins and ends, in whole elements."""
    width = T(extent) / T(pooled)
    steps = np.arange(pooled + 1, dtype=T) * width
    begins = np.clip(np.floor(steps[:-1]).astype(np.int64) + start, 0, most)
    ends = np.clip(np.ceil(steps[1:]).astype(np.int64) + start, 0, most)
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def _roi_bins(roi, scale: float, pooled, size, more: int, short: int):
    """The rows' and the columns' bins of a box; ``more`` is added to its sides, and ``short`` elements of the image are out of
    reach."""
    T = roi.dtype.type
    x1, y1, x2, y2 = _rounded(roi[1:] * T(scale)).tolist()
    extents = (max(y2 - y1 + more, 1), max(x2 - x1 + more, 1))
    return [_bins(s, e, p, n - short, T) for s, e, p, n in zip((y1, x1), extents, pooled, size, strict=True)]


def _pool(input, rois, scale, pooled):
    lowest = input.dtype.type(np.finfo(np.float32).min)
    n, channels, height, width = input.shape
    out = np.zeros((len(rois), channels, *pooled), input.dtype)
    places = np.full(out.shape, -1, np.int32)
    every = np.arange(channels)
    for k, roi in enumerate(rois):
        image = input[_image(roi, n)]
        rows, columns = _roi_bins(roi, scale, pooled, (height, width), 1, 0)
        for p, (top, bottom) in enumerate(rows):
            for q, (left, right) in enumerate(columns):
                if bottom <= top or right <= left:
                    continue
                part = image[:, top:bottom, left:right].reshape(channels, -1)
                part = np.where(part > lowest, part, lowest)  # neither NaN nor what is less is ever the maximum
                found = part.argmax(1)
                out[k, :, p, q] = best = part[every, found]
                y, x = np.divmod(found, right - left)
                places[k, :, p, q] = np.where(best > lowest, (top + y) * width + left + x, -1)
    return out, places


def _pool_grad(grad, rois, places, shape):
    out = np.zeros((shape[0], shape[1], shape[2] * shape[3]), grad.dtype)
    every = np.arange(shape[1])[:, None]
    for k, roi in enumerate(rois):
        at = places[k].reshape(shape[1], -1)
        np.add.at(out[_image(roi, shape[0])], (every, np.maximum(at, 0)), np.where(at < 0, 0, grad[k].reshape(at.shape)))
    return out.reshape(shape)


def _at_places(g, rois, argmax, shape):
    """Of each box the elements at given places of its image; zero where there is none."""
    image = g.reshape(*shape[:2], -1)[rois[:, 0].long()]
    found = image.gather(2, argmax.long().clamp(min=0).reshape(*argmax.shape[:2], -1))
    return found.reshape(argmax.shape).masked_fill(argmax < 0, 0)


@op(
    name="torchvision._roi_pool_grad",
    kernel=_pool_grad,
    tensors="grad rois argmax",
    checked=True,
    nondifferentiable=("argmax",),
    grad={"grad": lambda g, rois, argmax, shape: _at_places(g, rois, argmax, shape)},
    backward_name="RoiPoolBackwardBackward0",
)
def roi_pool_grad(grad: Tensor, rois: Tensor, argmax: Tensor, shape: Sequence[int]):
    """The gradient of :func:`roi_pool`: each bin's added at its maximum."""
    return tuple(shape), grad.dtype, (grad, rois, argmax), {"shape": tuple(shape)}


@op(
    name="torchvision.roi_pool",
    kernel=_pool,
    tensors="input rois",
    checked=True,
    outputs=("output", "argmax"),
    nondifferentiable=("argmax",),
    grad={"input": lambda g, rois, argmax, input_shape: roi_pool_grad(g, rois, argmax, input_shape)},
    samples=_region_samples((0.5, 2, 2), (1.0, 3, 2)),
    errors=_region_errors(1.0, 2, 2),
)
def roi_pool(input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int):
    """The maximum in each bin of a box whose corners are rounded, and its place in the image (-1 where a bin is empty).

    >>> import flambeau as torch
    >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> torch.ops.torchvision.roi_pool(x, torch.tensor([[0.0, 0, 0, 3, 3]]), 1.0, 1, 1)[0]
    tensor([[[[15.]]]])

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.ops.roi_pool.html
    """
    _check("roi_pool", input, rois)
    shape = (rois.shape[0], input.shape[1], pooled_height, pooled_width)
    settings = {"scale": float(spatial_scale), "pooled": (pooled_height, pooled_width)}
    return (shape, shape), (input.dtype, dtypes.int32), (input, rois), settings


def _ps_pool(input, rois, scale, pooled):
    bins = _own_channels(input, pooled)
    out = np.zeros((len(rois), bins.shape[1], *pooled), input.dtype)
    for k, roi in enumerate(rois):
        image = bins[_image(roi, len(input))]
        rows, columns = _roi_bins(roi, scale, pooled, input.shape[2:], 0, 1)
        for p, (top, bottom) in enumerate(rows):
            for q, (left, right) in enumerate(columns):
                if bottom > top and right > left:
                    out[k, :, p, q] = image[:, p, q, top:bottom, left:right].mean((1, 2))
    return out, _mapping(out.shape)


def _ps_pool_grad(grad, rois, scale, pooled, shape):
    out = np.zeros(shape, grad.dtype)
    bins = _own_channels(out, pooled)
    for k, roi in enumerate(rois):
        image = bins[_image(roi, shape[0])]
        rows, columns = _roi_bins(roi, scale, pooled, shape[2:], 0, 1)
        for p, (top, bottom) in enumerate(rows):
            for q, (left, right) in enumerate(columns):
                if bottom > top and right > left:
                    share = grad[k, :, p, q] / grad.dtype.type((bottom - top) * (right - left))
                    image[:, p, q, top:bottom, left:right] += share[:, None, None]
    return out


@op(
    name="torchvision._ps_roi_pool_grad",
    kernel=_ps_pool_grad,
    tensors="grad rois",
    checked=True,
    grad={"grad": lambda g, rois, scale, pooled: ps_roi_pool(g, rois, scale, *pooled)[0]},
    backward_name="PsRoiPoolBackwardBackward0",
)
def ps_roi_pool_grad(grad: Tensor, rois: Tensor, scale, pooled, shape: Sequence[int]):
    """The gradient of :func:`ps_roi_pool`."""
    return tuple(shape), grad.dtype, (grad, rois), {"scale": float(scale), "pooled": tuple(pooled), "shape": tuple(shape)}


@op(
    name="torchvision.ps_roi_pool",
    kernel=_ps_pool,
    tensors="input rois",
    checked=True,
    outputs=("output", "channel_mapping"),
    nondifferentiable=("channel_mapping",),
    grad={"input": lambda g, rois, input_shape, scale, pooled: ps_roi_pool_grad(g, rois, scale, pooled, input_shape)},
    samples=_region_samples((0.5, 2, 2), (1.0, 1, 2), channels=4),
    errors=_region_errors(1.0, 2, 2),
)
def ps_roi_pool(input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int):
    """The mean of each bin of a box whose corners are rounded, where each bin has channels of its own; and which these are.

    The last row and column of an image are never read, as in torchvision. (Its gradient reaches them; here it is that of the
    result.)

    >>> import flambeau as torch
    >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> torch.ops.torchvision.ps_roi_pool(x, torch.tensor([[0.0, 0, 0, 3, 3]]), 1.0, 1, 1)[0]
    tensor([[[[5.]]]])

    Source: https://docs.pytorch.org/vision/stable/generated/torchvision.ops.ps_roi_pool.html
    """
    pooled = (pooled_height, pooled_width)
    _check("ps_roi_pool", input, rois, pooled)
    return *_ps_shapes(input, rois, pooled), (input, rois), {"scale": float(spatial_scale), "pooled": pooled}
