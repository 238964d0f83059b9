"""Which nodes are pools or their gradients, and how their operands lie in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

from flambeau.core import dtypes
from flambeau.core.size import contiguous_strides
from flambeau.engine.cpu.specs import BinSpec, PoolSpec, ScatterSpec, VolumeSpec
from flambeau.engine.grouping import Ref
from flambeau.engine.natives import RESULT, Native, Result

_LARGEST = 1 << 30
"""Elements of a plane whose places kernels can count."""
_MOST_TERMS = 64
"""Columns from window to window, and windows that an element is in, at most: of a gradient's kernel, each is code of its own."""


def two(values, missing: int = 1) -> tuple[int, int]:
    """Rows and columns; a sequence is a plane with one row."""
    values = tuple(values)
    return (values[0], values[1]) if len(values) == 2 else (missing, values[0])


def planes_of(ref: Ref, dims: int) -> tuple[tuple[int, int], tuple[int, int, int, int]] | None:
    """Images and channels, and the strides of ``ref`` over them, rows and columns, if ``dims`` are the dims of a plane."""
    shape, strides = ref.shape, ref.strides
    lead = len(shape) - dims
    if dims not in (1, 2) or lead not in (0, 1, 2):
        return None
    missing = 2 - lead
    size = strides[-1] * shape[-1] if dims == 1 else strides[-2]
    images = (1,) * missing + shape[:lead]
    apart = (0,) * missing + strides[:lead]
    return (images[0], images[1]), (apart[0], apart[1], size, strides[-1])


def volumes_of(ref: Ref) -> tuple[tuple[int, int], tuple[int, int, int, int, int]] | None:
    """Images and channels, and the strides of ``ref`` over them, slices, rows and columns."""
    missing = 5 - len(ref.shape)
    if missing not in (0, 1):
        return None
    images, channels, *_ = (1,) * missing + tuple(ref.shape)
    strides = (0,) * missing + tuple(ref.strides)
    return (images, channels), (strides[0], strides[1], strides[2], strides[3], strides[4])


def native(make: Callable, kernel: Callable, node) -> Native | None:
    """The ``kernel`` that ``make(node, dtype)`` describes, for the dtypes and shapes that there are kernels for."""
    refs = [r for r in node.inputs if isinstance(r, Ref)]
    dtype = refs[0].dtype
    shapes = [r.shape for r in refs] + (list(node.shape) if node.dtype.__class__ is tuple else [node.shape])
    if dtype not in (dtypes.float32, dtypes.float64) or any(0 in s or prod(s) > _LARGEST for s in shapes):
        return None
    spec = make(node, dtype)
    if spec is None:
        return None
    results = (Result(0), Result(1)) if node.dtype.__class__ is tuple else (RESULT,)
    return Native(kernel, spec, (*refs, *results))


def _windows(part: str, ref: Ref, size, outputs, settings: dict, dtype, divisor=None, padded=True) -> PoolSpec | VolumeSpec | None:
    kernel, stride, padding, dilation = (settings[n] for n in ("kernel", "stride", "padding", "dilation"))
    if len(size) == 3:
        volumes = volumes_of(ref)
        if volumes is None:
            return None
        images, strides = volumes
        by = None if divisor is None else float(divisor)
        return VolumeSpec(part, dtype, images, tuple(size), tuple(outputs), kernel, stride, padding, dilation, strides, by, padded)
    planes = planes_of(ref, len(size))
    if planes is None:
        return None
    if part == "mean gradient" and max(stride[-1], prod([-(-k // s) for k, s in zip(kernel, stride, strict=True)])) > _MOST_TERMS:
        return None
    return PoolSpec(
        part, dtype, planes[0], two(size), two(outputs), two(kernel), two(stride), two(padding, 0), two(dilation),
        planes[1], None if divisor is None else float(divisor), padded,
    )  # fmt: skip


def _maxima(node, dtype) -> PoolSpec | VolumeSpec | None:
    (x,) = node.inputs
    outputs = node.attrs["outputs"]
    return _windows("max", x, x.shape[-len(outputs) :], outputs, node.attrs, dtype)


def _means(node, dtype, part: str) -> PoolSpec | VolumeSpec | None:
    (x,) = node.inputs
    a = node.attrs
    settings = {**a, "dilation": (1,) * len(a["kernel"])}
    return _windows(part, x, a["sizes"], a["outputs"], settings, dtype, a["divisor_override"], a["count_include_pad"])


def _bins(node, dtype, part: str) -> BinSpec | None:
    """Windows that cover a plane evenly."""
    (x,) = node.inputs
    if part == "mean gradient":
        size, outputs = node.attrs["sizes"], x.shape[-len(node.attrs["sizes"]) :]
    else:
        size, outputs = x.shape[-len(node.attrs["outputs"]) :], node.attrs["outputs"]
    planes = planes_of(x, len(size))
    return None if planes is None else BinSpec(part, dtype, planes[0], two(size), two(outputs), planes[1])


def _scatter(node, dtype) -> ScatterSpec | None:
    grad, indices = node.inputs
    sizes, outputs = node.attrs["sizes"], grad.shape[-len(node.attrs["sizes"]) :]
    planes = planes_of(grad, len(sizes))
    if len(sizes) == 3:
        volumes = volumes_of(grad)
        if volumes is None or volumes[1][2] != outputs[1] * volumes[1][3]:
            return None
        images, (image, channel, _, row, column) = volumes
        planes = images, (image, channel, row, column)
        outputs = outputs[0] * outputs[1], outputs[2]  # the rows of all slices
    if planes is None or indices.dtype is not dtypes.int64 or indices.strides != contiguous_strides(indices.shape):
        return None
    return ScatterSpec(dtype, planes[0], prod(sizes), two(outputs), planes[1])


_FORMS: dict[str, Callable] = {"_max_pool_grad": _scatter}
for _dims in (1, 2):
    _FORMS[f"_max_pool{_dims}d"] = _maxima
    _FORMS[f"_avg_pool{_dims}d"] = partial(_means, part="mean")
    _FORMS[f"_adaptive_max_pool{_dims}d"] = partial(_bins, part="max")
    _FORMS[f"_adaptive_avg_pool{_dims}d"] = partial(_bins, part="mean")
_FORMS["_max_pool3d"] = _maxima
_FORMS["_avg_pool3d"] = partial(_means, part="mean")
_FORMS["_avg_pool_grad"] = partial(_means, part="mean gradient")
_FORMS["_adaptive_avg_pool_grad"] = partial(_bins, part="mean gradient")


def _pool_kernel(spec: PoolSpec | BinSpec | ScatterSpec | VolumeSpec) -> tuple[int, tuple[int, ...]]:
    from flambeau.engine.cpu.pooling import pool_kernel  # LLVM is loaded with the first plan

    return pool_kernel(spec)


FORMS = {name: partial(native, make, _pool_kernel) for name, make in _FORMS.items()}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""

ROW_MAJOR = {"_max_pool_grad": 1}
"""Which operand, the indices, a kernel takes row by row only."""
