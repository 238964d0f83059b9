"""Which nodes are convolutions or their gradients, and how their operands lie in memory."""

from __future__ import annotations

from flambeau.core import dtypes
from flambeau.core.size import contiguous_strides
from flambeau.engine.cpu.specs import ConvSpec
from flambeau.engine.grouping import Ref
from flambeau.engine.natives import ORDER, RECTIFIED, RESULT, Native

_CONTENT = 2
"""The first dim of an image's rows and columns, after images and channels."""


def _two(values, missing: int) -> tuple[int, int]:
    """Rows and columns; a sequence is an image with one row."""
    values = tuple(values)
    return values if len(values) == 2 else (missing, *values)


def _strides(shape, strides) -> tuple[int, int, int, int]:
    """Of images, channels, rows and columns."""
    strides = tuple(strides)
    return strides if len(strides) == 4 else (*strides[:2], shape[2] * strides[2], strides[2])


def _dense(ref: Ref) -> bool:
    """Whether elements follow each other without gaps."""
    natural = contiguous_strides(ref.shape)
    return all(n == 1 or s == t for n, s, t in zip(ref.shape, ref.strides, natural, strict=True))


def _native(node, part: str, x, y, kernel, operands: tuple[Ref, ...], bias: Ref | None = None) -> Native | None:
    """The kernel that reads ``operands``. ``x`` and ``y`` are (shape, strides) of what the convolution takes and gives."""
    from flambeau.engine.cpu.conv import conv_kernel  # LLVM is loaded with the first plan

    (shape, x_strides), (given, y_strides) = x, y
    attrs = node.attrs
    if len(shape) not in (3, 4) or 0 in shape or 0 in given or 0 in node.shape:
        return None
    if any(r.dtype is not node.dtype for r in operands) or node.dtype not in (dtypes.float32, dtypes.float64):
        return None
    spec = ConvSpec(
        part, node.dtype, shape[0], shape[1], *_two(shape[_CONTENT:], 1), given[1], _two(kernel, 1),
        _two(attrs["stride"], 1), _two([before for before, _ in attrs["pads"]], 0), _two(attrs["dilation"], 1), attrs["groups"],
        _strides(shape, x_strides), _strides(given, y_strides), bias is not None, _two(given[_CONTENT:], 1),
        attrs.get(RECTIFIED, False),
    )  # fmt: skip
    last = () if bias is None else (bias,)
    return Native(conv_kernel, spec, (*operands, RESULT, *last)) if spec.supported() else None


def _seen(ref: Ref) -> tuple:
    return ref.shape, ref.strides


def _made(node) -> tuple:
    """Shape and strides of the result, with the dims as the op has them."""
    strides = contiguous_strides(node.shape)
    dims = node.attrs.get(ORDER)
    if dims is None:
        return node.shape, strides
    places = sorted(range(len(dims)), key=dims.__getitem__)
    return tuple([node.shape[p] for p in places]), tuple([strides[p] for p in places])


def _forward(node) -> Native | None:
    x, weight, bias = node.inputs
    if not _dense(weight) or (bias is not None and not _dense(bias)):
        return None
    return _native(node, "forward", _seen(x), _made(node), weight.shape[_CONTENT:], (x, weight), bias)


def _input(node) -> Native | None:
    grad, weight, bias = node.inputs
    if not _dense(weight) or (bias is not None and not _dense(bias)):
        return None
    return _native(node, "input", _made(node), _seen(grad), weight.shape[_CONTENT:], (grad, weight), bias)


def _weight(node) -> Native | None:
    x, grad = node.inputs
    return _native(node, "weight", _seen(x), _seen(grad), node.shape[_CONTENT:], (x, grad))


FORMS = {"_convolution": _forward, "_convolution_input": _input, "_convolution_weight": _weight}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""

LAID_OUT = {"_convolution": _forward, "_convolution_input": _input}
"""Those whose results may have their dims in another order."""

ROW_MAJOR = {"_convolution": 1, "_convolution_input": 1}
"""Which operand, the weight, a kernel takes row by row only."""

RECTIFIABLE = {"_convolution": _forward, "_convolution_input": _input}
"""Those whose kernels can have a rectifier in them; see :mod:`flambeau.engine.fusion`."""
