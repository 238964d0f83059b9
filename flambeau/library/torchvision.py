"""``torch.ops.torchvision``: torchvision's operators, by the records of :mod:`flambeau.ops.regions` and
:mod:`flambeau.ops.deformable`.

torchvision brings a compiled library for PyTorch, which is not loaded; it finds these in its place, and registers gradients,
shapes and casts of its own for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd import enable_grad, grad
from flambeau.library import operators
from flambeau.library.rotated import box_iou_rotated
from flambeau.library.schema import parse_schema
from flambeau.ops import deformable, regions
from flambeau.tensor import Tensor

_BOX = "Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_BACK = "Tensor grad, Tensor rois, {}float spatial_scale, SymInt pooled_height, SymInt pooled_width, {}SymInt batch_size, SymInt channels, SymInt height, SymInt width"
_DEFORM = (
    "Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, SymInt stride_w, SymInt pad_h, "
    "SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask"
)


def _tuple(function: Callable) -> Callable:
    return lambda *args: tuple(function(*args))


def _roi_align_backward(
    g: Tensor, rois: Tensor, scale: float, ph: int, pw: int, n: int, c: int, h: int, w: int, sampling: int, aligned: bool
) -> Tensor:
    return regions.roi_align_grad(g, rois, scale, (ph, pw), sampling, aligned, (n, c, h, w))


def _roi_pool_backward(
    g: Tensor, rois: Tensor, argmax: Tensor, scale: float, ph: int, pw: int, n: int, c: int, h: int, w: int
) -> Tensor:
    return regions.roi_pool_grad(g, rois, argmax, (n, c, h, w))


def _ps_roi_align_backward(
    g: Tensor, rois: Tensor, mapping: Tensor, scale: float, ph: int, pw: int, sampling: int, n: int, c: int, h: int, w: int
) -> Tensor:
    return regions.ps_roi_align_grad(g, rois, scale, (ph, pw), sampling, (n, c, h, w))


def _ps_roi_pool_backward(
    g: Tensor, rois: Tensor, mapping: Tensor, scale: float, ph: int, pw: int, n: int, c: int, h: int, w: int
) -> Tensor:
    return regions.ps_roi_pool_grad(g, rois, scale, (ph, pw), (n, c, h, w))


def _deform_conv2d_backward(g: Tensor, *args: Any) -> tuple:
    given = [t.detach().requires_grad_() for t in args[:5]]
    with enable_grad():
        found = grad(deformable.deform_conv2d(*given, *args[5:]), given, g, allow_unused=True)
    return tuple(t.new_zeros(t.shape) if d is None else d for t, d in zip(given, found, strict=True))


def _refused(name: str) -> Callable:
    def refused(*args: Any) -> Any:
        raise NotImplementedError(f"torchvision::{name}: flambeau computes it of numbers: call .dequantize() first")

    return refused


_OPERATORS: dict[str, Callable] = {
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor": regions.nms,
    f"roi_align({_BOX}, int sampling_ratio, bool aligned) -> Tensor": regions.roi_align,
    f"_roi_align_backward({_BACK.format('', '')}, int sampling_ratio, bool aligned) -> Tensor": _roi_align_backward,
    f"roi_pool({_BOX}) -> (Tensor, Tensor)": _tuple(regions.roi_pool),
    f"_roi_pool_backward({_BACK.format('Tensor argmax, ', '')}) -> Tensor": _roi_pool_backward,
    f"ps_roi_align({_BOX}, int sampling_ratio) -> (Tensor, Tensor)": _tuple(regions.ps_roi_align),
    f"_ps_roi_align_backward({_BACK.format('Tensor channel_mapping, ', 'int sampling_ratio, ')}) -> Tensor": _ps_roi_align_backward,
    f"ps_roi_pool({_BOX}) -> (Tensor, Tensor)": _tuple(regions.ps_roi_pool),
    f"_ps_roi_pool_backward({_BACK.format('Tensor channel_mapping, ', '')}) -> Tensor": _ps_roi_pool_backward,
    f"deform_conv2d({_DEFORM}) -> Tensor": deformable.deform_conv2d,
    f"_deform_conv2d_backward(Tensor grad, {_DEFORM}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)": _deform_conv2d_backward,
    "box_iou_rotated(Tensor boxes1, Tensor boxes2) -> Tensor": box_iou_rotated,
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor": _refused("qnms"),
    "qroi_align(Tensor input, Tensor rois, float input_scale, int input_zero_point, float rois_scale, int rois_zero_point, float "
    "spatial_scale, SymInt pooled_height, SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor": _refused("qroi_align"),
    "_cuda_version() -> int": lambda: -1,
}  # fmt: skip


def define() -> None:
    """Defines the operators. Where no gradient is registered for one, it has that of its record."""
    for schema, function in _OPERATORS.items():
        overload = operators.define(parse_schema(schema, "torchvision"))
        overload.kernels["CPU"] = function
