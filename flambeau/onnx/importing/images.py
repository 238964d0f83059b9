"""Rules of operators on images: resizing, sampling on grids, regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.onnx.importing.registry import OnnxError, ints, rule

Tensor = torch.Tensor

_NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _places(size: int, count: int, scale: float, mode: str, start: float, end: float) -> np.ndarray:
    """Where in the input each of ``count`` outputs lies, in elements."""
    i = np.arange(count, dtype=np.float64)
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        return i * (size - 1) / (size * scale - 1) if count > 1 else i * 0
    if mode == "pytorch_half_pixel" and count == 1:
        return i * 0 - 0.5
    if mode == "half_pixel_symmetric":
        adjusted = size / 2 * (1 - count / (scale * size))
        return adjusted + (i + 0.5) / scale - 0.5
    if mode == "tf_crop_and_resize":
        if count > 1:
            return start * (size - 1) + i * (end - start) * (size - 1) / (count - 1)
        return i * 0 + 0.5 * (start + end) * (size - 1)
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (i + 0.5) / scale - 0.5
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    raise OnnxError(f"Resize has the coordinate_transformation_mode {mode!r}, which is not known")


def _triangle(x: np.ndarray, a: float) -> np.ndarray:
    return np.maximum(0, 1 - np.abs(x))


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    x = np.abs(x)
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _weights(size: int, places: np.ndarray, scale: float, cubic: bool, a: float, antialias: bool, exclude: bool) -> np.ndarray:
    """A matrix (outputs, inputs): how much of each input is in each output. What lies outside is the edge, or nothing
    (``exclude``)."""
    shrink = min(1.0, scale) if antialias else 1.0
    reach = (2 if cubic else 1) / shrink
    offsets = np.arange(-int(np.ceil(reach)), int(np.ceil(reach)) + 1)
    taps = np.floor(places).astype(int)[:, None] + offsets
    amounts = (_cubic if cubic else _triangle)((taps - places[:, None]) * shrink, a)
    inside = (taps >= 0) & (taps < size)
    if exclude:
        amounts = np.where(inside, amounts, 0)
    if exclude or antialias:
        amounts = amounts / amounts.sum(1, keepdims=True)
    made = np.zeros((len(places), size))
    np.add.at(made, (np.arange(len(places))[:, None], np.clip(taps, 0, size - 1)), amounts)
    return made


def _fitted(sizes: list[int], shape: list[int], policy: str) -> tuple[list[int], list[float]]:
    """Sizes and scales where the ratio of the sides is to be kept."""
    scales = [want / have for want, have in zip(sizes, shape)]
    if policy == "stretch":
        return sizes, scales
    one = (min if policy == "not_larger" else max)(scales)
    return [int(have * one + 0.5) for have in shape], [one] * len(shape)


@rule("Resize", host="roi scales sizes")
def resize(
    x: Tensor, roi: Any = None, scales: Any = None, sizes: Any = None, *, antialias: int = 0, axes: list[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel", cubic_coeff_a: float = -0.75, exclude_outside: int = 0, extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest", nearest_mode: str = "round_prefer_floor", opset: int,
) -> Tensor:  # fmt: skip
    if opset < 11:  # there are no roi and sizes
        scales, coordinate_transformation_mode, nearest_mode = roi, "asymmetric", "floor"
    given = list(range(x.dim())) if axes is None else [a % x.dim() for a in axes]
    shape = [x.shape[a] for a in given]
    if sizes is not None and np.size(sizes):
        wanted, factors = _fitted(ints(sizes), shape, keep_aspect_ratio_policy)
    else:
        factors = [float(s) for s in np.ravel(scales)]
        wanted = [int(np.floor(n * s)) for n, s in zip(shape, factors)]
    crop = coordinate_transformation_mode == "tf_crop_and_resize"
    bounds = np.ravel(roi) if crop else np.zeros(2 * len(given))
    kind = x.dtype
    y = x if mode == "nearest" or x.is_floating_point() else x.to(torch.float32)
    outside: Tensor | None = None
    for i, (axis, size, count, scale) in enumerate(zip(given, shape, wanted, factors, strict=True)):
        if count == size and scale == 1 and not crop:
            continue
        places = _places(size, count, scale, coordinate_transformation_mode, float(bounds[i]), float(bounds[i + len(given)]))
        if crop:
            beyond = torch.tensor((places < 0) | (places > size - 1)).reshape(-1, *[1] * (x.dim() - 1 - axis))
            outside = beyond if outside is None else outside | beyond
        if mode == "nearest":
            y = y.index_select(axis, torch.tensor(np.clip(_NEAREST[nearest_mode](places), 0, size - 1).astype(np.int64)))
        else:
            matrix = _weights(size, places, scale, mode == "cubic", cubic_coeff_a, bool(antialias), bool(exclude_outside))
            y = (
                (torch.tensor(matrix).to(y.dtype) @ y.movedim(axis, 0).reshape(size, -1))
                .reshape(count, *y.movedim(axis, 0).shape[1:])
                .movedim(0, axis)
            )
    if outside is not None:
        y = torch.where(outside, torch.tensor(extrapolation_value, dtype=y.dtype), y)
    return y if y.dtype is kind else y.round().to(kind) if not kind.is_floating_point else y.to(kind)


@rule("Upsample", host="scales")
def upsample(x: Tensor, scales: Any, *, mode: str = "nearest") -> Tensor:
    return resize(x, scales, mode=mode, opset=9)


@rule("GridSample")
def grid_sample(x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros") -> Tensor:
    names = {"linear": "bilinear", "cubic": "bicubic"}
    return F.grid_sample(x, grid, mode=names.get(mode, mode), padding_mode=padding_mode, align_corners=bool(align_corners))


@rule("AffineGrid", host="size")
def affine_grid(theta: Tensor, size: Any, *, align_corners: int = 0) -> Tensor:
    return F.affine_grid(theta, ints(size), align_corners=bool(align_corners))


@rule("RoiAlign")
def roi_align(
    x: Tensor, rois: Tensor, batch: Tensor, *, coordinate_transformation_mode: str | None = None, mode: str = "avg", output_height: int = 1,
    output_width: int = 1, sampling_ratio: int = 0, spatial_scale: float = 1.0, opset: int,
) -> Tensor:  # fmt: skip
    if mode != "avg":
        raise OnnxError("RoiAlign takes the average of its samples here; mode='max' is not supported")
    half = (coordinate_transformation_mode or ("half_pixel" if opset >= 16 else "output_half_pixel")) == "half_pixel"
    boxes = torch.cat([batch.to(rois.dtype).unsqueeze(1), rois], 1)
    return torch.ops.torchvision.roi_align(x, boxes, spatial_scale, output_height, output_width, sampling_ratio or -1, half)


@rule("DeformConv")
def deform_conv(
    x: Tensor, w: Tensor, offset: Tensor, b: Tensor | None = None, mask: Tensor | None = None, *, dilations: Any = None, group: int = 1, kernel_shape: Any = None,
    offset_group: int = 1, pads: Any = None, strides: Any = None,
) -> Tensor:  # fmt: skip
    (sh, sw), (dh, dw), (ph, pw, *_) = strides or (1, 1), dilations or (1, 1), pads or (0, 0, 0, 0)
    bias = torch.zeros(w.shape[0], dtype=x.dtype) if b is None else b
    weights = torch.ones(0) if mask is None else mask
    return torch.ops.torchvision.deform_conv2d(
        x, w, offset, weights, bias, sh, sw, ph, pw, dh, dw, group, offset_group, mask is not None
    )
