"""Pooling: maxima and means of windows of the last dims.

Each exists for one, two and three dims; one primitive does all three, dim by dim.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core import dtypes
from flambeau.ops import layouts
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import refuse
from flambeau.ops.windows import padded, per_dim, tap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

# --- windows -------------------------------------------------------------------------------------------------


def check_input(name: str, input, dims: int, kernel: str) -> None:
    require_tensors(name, input=input)
    shape = input._shape
    if len(shape) not in (dims + 1, dims + 2):
        if dims == 1:
            raise RuntimeError(
                f"{name}: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but got:{list(shape)}"
            )
        raise RuntimeError(
            f"non-empty {dims + 1}D or {dims + 2}D (batch mode) tensor expected for input: {name} takes (channels, "
            f"...) or (samples, channels, ...), but got {list(shape)}"
        )
    if 0 in shape[-dims - 1 :]:
        raise RuntimeError(
            f"Expected {dims + 1}D or {dims + 2}D (batch mode) tensor with optional 0 dim batch size for input, but "
            f"got:{list(shape)}"
        )
    refuse(kernel, input, kinds=(dtypes.BOOLEAN, dtypes.COMPLEX))


def _settings(name: str, input, dims: int, kernel_size, stride, padding, dilation=1, ceil_mode=False):
    """The windows' settings, one int for each dim, and how many windows there are."""
    kernel = per_dim(kernel_size, dims, "kernel_size", name)
    stride = kernel if stride is None or stride == () or stride == [] else per_dim(stride, dims, "stride", name)
    padding = per_dim(padding, dims, "padding", name)
    dilation = per_dim(dilation, dims, "dilation", name)
    if any(s == 0 for s in stride):
        raise RuntimeError("stride should not be zero")
    if min(kernel) < 1 or min(stride) < 1:
        raise RuntimeError(f"kernel size should be greater than zero, but got kernel_size: {kernel}, stride: {stride}")
    if min(dilation) < 1:
        raise RuntimeError(f"dilation should be greater than zero, but got dilation: {dilation}")
    for k, p, d in zip(kernel, padding, dilation, strict=True):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > (d * (k - 1) + 1) // 2:
            if dims == 1 and name == "max_pool1d":
                raise RuntimeError(
                    f"max_pool1d() padding should be at most half of kernel size, but got padding={p} and kernel_size={k}"
                )
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and dilation={d}"
            )
    sizes = input._shape[-dims:]
    outputs = tuple(map(_windows, sizes, kernel, stride, padding, dilation, [ceil_mode] * dims))
    if min(outputs) < 1:
        if name == "max_pool1d":
            raise RuntimeError(
                f"max_pool1d() Invalid computed output size: {outputs[0]}. Output size is too small: kernel_size {kernel} does not fit"
            )
        channels = input._shape[-dims - 1]
        raise RuntimeError(
            f"Given input size: ({'x'.join(map(str, (channels, *sizes)))}). Calculated output size: "
            f"({'x'.join(map(str, (channels, *outputs)))}). Output size is too small: kernel_size {kernel} does not fit"
        )
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}, outputs


def _windows(n: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are along a dim; with ``ceil_mode`` the last may reach beyond the input's padding."""
    room = n + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + stride - 1) // stride + 1 if ceil_mode else room // stride + 1
    if ceil_mode and (count - 1) * stride >= n + padding:
        count -= 1  # it would begin in the padding at the right
    return count


def _margins(sizes, outputs, kernel, stride, padding, dilation) -> tuple[tuple[int, int], ...]:
    """How much is to be added before and after each dim so that all windows lie inside."""
    return tuple(
        [(p, max((o - 1) * s + d * (k - 1) + 1 - p - n, 0))
         for n, o, k, s, p, d in zip(sizes, outputs, kernel, stride, padding, dilation, strict=True)]
    )  # fmt: skip


@lru_cache(256)
def _positions(n: int, output: int, kernel: int, stride: int, padding: int, dilation: int) -> np.ndarray:
    """Where along a dim of ``n`` the ``t``-th element of each window is; before the border: the window's first inside."""
    at = np.arange(output)[:, None] * stride - padding + np.arange(kernel) * dilation
    first = at[:, 0] + -(np.minimum(at[:, 0], 0) // dilation) * dilation
    return np.where(at < 0, first[:, None], at)


def at(axis: int, index) -> tuple:
    return (slice(None),) * axis + (index,)


# --- maxima --------------------------------------------------------------------------------------------------


def _lowest(dtype: np.dtype):
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def max_pooled(x, sizes, taps, positions):
    """Maxima over windows, and their places in the flattened plane.

    For each of the last dims ``taps`` are the index expressions of the windows' elements, and ``positions``
    (windows, taps) says where these are. Ties go to the first element, NaN to the last.
    """
    has_nan = x.dtype.kind == "f" and bool(np.isnan(x.sum()))
    chosen: list[np.ndarray] = []  # for each dim that is done, the number of the tap; all arithmetic, as masks are slow
    for d in reversed(range(len(sizes))):
        axis = x.ndim - len(sizes) + d
        first = at(axis, taps[d][0])
        best = x[first].copy()
        inner = [c[first].copy() for c in chosen]
        which = np.zeros(best.shape, np.min_scalar_type(len(taps[d])))
        for t, where in enumerate(taps[d][1:], 1):
            candidate = x[at(axis, where)]
            newer = candidate > best
            if has_nan:
                newer |= candidate != candidate
            np.maximum(best, candidate, out=best)
            np.maximum(which, newer * which.dtype.type(t), out=which)
            for kept, c in zip(inner, chosen, strict=True):
                kept += newer * (c[at(axis, where)] - kept)
        x, chosen = best, [which, *inner]
    flat = np.zeros(x.shape, np.int64)
    for d, (n, which, position) in enumerate(zip(sizes, chosen, positions, strict=True)):
        windows, kernel = position.shape
        row = np.arange(0, windows * kernel, kernel).reshape((-1,) + (1,) * (len(sizes) - 1 - d))
        flat *= n
        flat += position.ravel().take(row + which)
    return x, flat


def _max_pool_kernel(x, kernel, stride, padding, dilation, outputs):
    sizes = x.shape[-len(kernel) :]
    each = list(zip(sizes, outputs, kernel, stride, padding, dilation, strict=True))
    x = padded(x, _margins(sizes, outputs, kernel, stride, padding, dilation), _lowest(x.dtype))
    taps = [[tap(t, s, d, o) for t in range(k)] for _, o, k, s, _, d in each]
    return max_pooled(x, sizes, taps, [_positions(*settings) for settings in each])


def _added_at(g, indices, sizes):
    lead, plane = g.shape[: -len(sizes)], prod(sizes)
    rows = prod(lead)
    out = np.zeros(rows * plane, g.dtype)
    row = np.arange(0, rows * plane, plane).reshape(*lead, *[1] * len(sizes)) if plane else 0
    np.add.at(out, (indices + row).ravel(), g.ravel())
    return out.reshape(*lead, *sizes)


def _gathered(t, indices, sizes):
    lead = t._shape[: -len(sizes)]
    picked = t.reshape(*lead, prod(sizes)).gather(-1, indices.reshape(*lead, prod(indices._shape[len(lead) :])))
    return picked.reshape(indices._shape)


@op(
    layout=layouts.channels_last,
    name="_max_pool_grad",
    tensors="grad indices",
    kernel=_added_at,
    grad={"grad": lambda g, indices, sizes: _gathered(g, indices, sizes)},
    method=False,
    backward_name="MaxPoolBackwardBackward0",
)
def max_pool_grad(grad: Tensor, indices: Tensor, sizes: Sequence[int]):
    """The gradient of a max pool: each window's gradient added at its maximum."""
    return (*grad._shape[: -len(sizes)], *sizes), grad._dtype, (grad, indices), {"sizes": tuple(sizes)}


def _grad_of_max_pool(g, indices, input_shape, outputs):
    return max_pool_grad(g, indices, input_shape[-len(outputs) :])


def _max_record(dims: int):
    def check(input: Tensor, kernel_size, stride, padding, dilation, ceil_mode):
        """Maxima of windows and where they are in the plane."""
        name = f"max_pool{dims}d"
        check_input(name, input, dims, name)
        settings, outputs = _settings(name, input, dims, kernel_size, stride, padding, dilation, ceil_mode)
        shape = (*input._shape[:-dims], *outputs)
        return (shape, shape), (input._dtype, dtypes.int64), (input,), {**settings, "outputs": outputs}

    return op(
        check,
        name=f"_max_pool{dims}d",
        kernel=_max_pool_kernel,
        grad={"input": _grad_of_max_pool},
        outputs=("out", "indices"),
        layout=(None, layouts.images, layouts.volumes)[dims - 1],
        method=False,
        backward_name=f"MaxPool{dims}DWithIndicesBackward0",
    )


_max_pool = {dims: _max_record(dims) for dims in (1, 2, 3)}


def _max_pool_samples(dims: int):
    def samples(make) -> list[Sample]:
        made = {
            1: [Sample(make(2, 2, 6), 2), Sample(make(2, 7), 3, 2, 1), Sample(make(1, 2, 7), 2, 3, dilation=2, ceil_mode=True)],
            2: [
                Sample(make(1, 2, 4, 4), 2),
                Sample(make(2, 4, 3), (3, 2), (1, 2), (1, 0), ceil_mode=True),
                Sample(make(1, 1, 5, 5), 2, 1, 0, 2),
                Sample(make(1, 2, 3, 4), 2, return_indices=True),
            ],
            3: [Sample(make(1, 1, 2, 4, 2), 2), Sample(make(1, 3, 2, 3), 2, 1, 1)],
        }  # fmt: skip
        return made[dims]

    return samples


def _pool_errors(dims: int):
    def errors(make) -> list[ErrorSample]:
        return [
            ErrorSample(RuntimeError, r"\(batch mode\) tensor", make(*[3] * dims), 2),
            ErrorSample(RuntimeError, "should be at most half", make(2, *[4] * dims), 2, 1, 2),
            ErrorSample(RuntimeError, "output size", make(2, *[3] * dims), 5),
            ErrorSample(RuntimeError, "stride should not be zero", make(2, *[3] * dims), 2, 0),
        ]  # fmt: skip

    return errors


def _max_pool_results(dims, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices):
    out, indices = _max_pool[dims](input, kernel_size, stride, padding, dilation, ceil_mode)
    return (out, indices) if return_indices else out


@composite(name="nn.functional.max_pool1d", aliases=("max_pool1d",), samples=_max_pool_samples(1), errors=_pool_errors(1))
def max_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """:func:`max_pool2d` of an input (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.max_pool1d(torch.tensor([[1.0, 5.0, 2.0, 4.0]]), 2)
    tensor([[5., 4.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool1d.html
    """
    return _max_pool_results(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@composite(name="nn.functional.max_pool2d", aliases=("max_pool2d",), samples=_max_pool_samples(2), errors=_pool_errors(2))
def max_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
):
    """The maximum of each window of an input (N, C, H, W) or (C, H, W).

    Windows of ``kernel_size``, ``stride`` apart (by default the kernel's size), with ``dilation`` between their
    elements; ``padding`` adds -inf at both ends. With ``ceil_mode`` a last window that is not whole counts too.
    With ``return_indices`` also the maxima's places in the flattened plane. NaN counts as greater than any number.

    >>> import flambeau as torch
    >>> torch.nn.functional.max_pool2d(torch.arange(8.0).reshape(1, 2, 4), 2)
    tensor([[[5., 7.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html
    """
    return _max_pool_results(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@composite(name="nn.functional.max_pool3d", aliases=("max_pool3d",), samples=_max_pool_samples(3), errors=_pool_errors(3))
def max_pool3d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """:func:`max_pool2d` of an input (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.max_pool3d(torch.ones(1, 1, 4, 4, 4), 2).shape
    torch.Size([1, 1, 2, 2, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool3d.html
    """
    return _max_pool_results(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@composite(name="nn.functional.max_pool1d_with_indices", aliases=("max_pool1d_with_indices",))
def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
):
    """:func:`max_pool1d`, and the places of the maxima.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.max_pool1d_with_indices(torch.tensor([[1.0, 5.0, 2.0, 4.0]]), 2)
    (tensor([[5., 4.]]), tensor([[1, 3]]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool1d_with_indices.html
    """
    return _max_pool_results(1, input, kernel_size, stride, padding, dilation, ceil_mode, True)


@composite(name="nn.functional.max_pool2d_with_indices")
def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
):
    """:func:`max_pool2d`, and the places of the maxima.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.max_pool2d_with_indices(torch.arange(4.0).reshape(1, 2, 2), 2)
    (tensor([[[3.]]]), tensor([[[3]]]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d_with_indices.html
    """
    return _max_pool_results(2, input, kernel_size, stride, padding, dilation, ceil_mode, True)


@composite(name="nn.functional.max_pool3d_with_indices")
def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
):
    """:func:`max_pool3d`, and the places of the maxima.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.max_pool3d_with_indices(torch.arange(8.0).reshape(1, 2, 2, 2), 2)
    (tensor([[[[7.]]]]), tensor([[[[7]]]]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool3d_with_indices.html
    """
    return _max_pool_results(3, input, kernel_size, stride, padding, dilation, ceil_mode, True)


# --- means ---------------------------------------------------------------------------------------------------


@lru_cache(256)
def _counts(n: int, output: int, kernel: int, stride: int, padding: int, count_include_pad: bool) -> np.ndarray:
    """How many elements of each window along a dim count."""
    start = np.arange(output) * stride - padding
    end = np.minimum(start + kernel, n + padding)
    if not count_include_pad:
        start, end = np.maximum(start, 0), np.minimum(end, n)
    return end - start


def _divisor(sizes, kernel, stride, padding, outputs, count_include_pad, divisor_override):
    """What each window's sum is divided by: a number, or an array over the windows."""
    if divisor_override is not None:
        return divisor_override
    total = np.ones(())
    for n, o, k, s, p in zip(sizes, outputs, kernel, stride, padding, strict=True):
        counts = _counts(n, o, k, s, p, count_include_pad)
        total = total[..., None] * (counts[:1] if (counts == counts[0]).all() else counts)
    return total.item() if total.size == 1 else total


def _divide(x, divisor):
    if x.dtype.kind in "iu":
        quotient = np.abs(x) // np.abs(divisor)
        return np.where((x < 0) != (np.asarray(divisor) < 0), -quotient, quotient)
    return x / (divisor.astype(x.dtype) if isinstance(divisor, np.ndarray) else x.dtype.type(divisor))


def _avg_pool_kernel(x, kernel, stride, padding, outputs, sizes, **counting):
    divisor = _divisor(sizes, kernel, stride, padding, outputs, **counting)
    x = padded(x, _margins(sizes, outputs, kernel, stride, padding, (1,) * len(kernel)))
    lead = x.ndim - len(kernel)
    for axis in reversed(range(lead, x.ndim)):
        o, k, s = outputs[axis - lead], kernel[axis - lead], stride[axis - lead]
        total = x[at(axis, tap(0, s, 1, o))] + x.dtype.type(0)  # so that the sum of negative zeros is 0
        for t in range(1, k):
            total += x[at(axis, tap(t, s, 1, o))]
        x = total
    return _divide(x, divisor)


def _avg_pool_grad_kernel(g, kernel, stride, padding, outputs, sizes, **counting):
    g = _divide(g, _divisor(sizes, kernel, stride, padding, outputs, **counting))
    margins = _margins(sizes, outputs, kernel, stride, padding, (1,) * len(kernel))
    lead = g.ndim - len(kernel)
    for axis in range(lead, g.ndim):
        d = axis - lead
        out = np.zeros((*g.shape[:axis], sizes[d] + sum(margins[d]), *g.shape[axis + 1 :]), g.dtype)
        for t in range(kernel[d]):
            out[at(axis, tap(t, stride[d], 1, outputs[d]))] += g
        g = out[at(axis, slice(margins[d][0], margins[d][0] + sizes[d]))]
    return g


def _grad_of_avg_pool(g, kernel, stride, padding, outputs, sizes, count_include_pad, divisor_override):
    return _avg_pool_grad(g, kernel, stride, padding, outputs, sizes, count_include_pad, divisor_override)


@op(
    layout=layouts.pooled,
    name="_avg_pool_grad",
    kernel=_avg_pool_grad_kernel,
    grad={"grad": lambda g, kernel, stride, padding, outputs, sizes, count_include_pad, divisor_override:
          _avg_pool[len(kernel)](g, kernel, stride, padding, outputs, sizes, count_include_pad, divisor_override)},
    method=False,
    backward_name="AvgPoolBackwardBackward0",
)  # fmt: skip
def _avg_pool_grad(grad: Tensor, kernel, stride, padding, outputs, sizes: Sequence[int], count_include_pad, divisor_override):
    """The gradient of a mean pool: each window's gradient, divided, at all its elements."""
    attrs = {
        "kernel": kernel, "stride": stride, "padding": padding, "outputs": outputs, "sizes": sizes,
        "count_include_pad": count_include_pad, "divisor_override": divisor_override,
    }  # fmt: skip
    return (*grad._shape[: -len(sizes)], *sizes), grad._dtype, (grad,), attrs


def _avg_record(dims: int):
    def check(input: Tensor, kernel, stride, padding, outputs, sizes: int | Sequence[int], count_include_pad, divisor_override):
        """Means of windows."""
        attrs = {
            "kernel": kernel, "stride": stride, "padding": padding, "outputs": outputs, "sizes": sizes,
            "count_include_pad": count_include_pad, "divisor_override": divisor_override,
        }  # fmt: skip
        return (*input._shape[:-dims], *outputs), input._dtype, (input,), attrs

    return op(
        check,
        name=f"_avg_pool{dims}d",
        kernel=_avg_pool_kernel,
        grad={"input": _grad_of_avg_pool},
        layout=(layouts.sequences, layouts.images, None)[dims - 1],
        method=False,
        backward_name=f"AvgPool{dims}DBackward0",
    )


_avg_pool: dict[int, Any] = {dims: _avg_record(dims) for dims in (1, 2, 3)}


def _avg_pooled(dims, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override=None):
    name = f"avg_pool{dims}d"
    check_input(name, input, dims, name)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    settings, outputs = _settings(name, input, dims, kernel_size, stride, padding, 1, ceil_mode)
    if dims == 3 and any(n < k for n, k in zip(input._shape[-3:], settings["kernel"], strict=True)):  # whatever the padding
        (t, h, w), (kt, kh, kw) = input._shape[-3:], settings["kernel"]
        raise RuntimeError(f"input image (T: {t} H: {h} W: {w}) smaller than kernel size (kT: {kt} kH: {kh} kW: {kw})")
    return _avg_pool[dims](
        input, settings["kernel"], settings["stride"], settings["padding"], outputs, tuple(input._shape[-dims:]),
        bool(count_include_pad), divisor_override,
    )  # fmt: skip


def _avg_pool_samples(dims: int):
    def samples(make) -> list[Sample]:
        made = {
            1: [Sample(make(2, 2, 6), 2), Sample(make(2, 7), 3, 2, 1, True, False)],
            2: [
                Sample(make(1, 2, 4, 4), 2),
                Sample(make(2, 4, 3), (3, 2), (1, 2), (1, 1), True),
                Sample(make(2, 4, 3), (3, 2), (1, 2), (1, 1), True, False),
                Sample(make(1, 1, 5, 5), 3, 1, 1, divisor_override=4),
            ],
            3: [Sample(make(1, 1, 2, 4, 2), 2), Sample(make(1, 3, 2, 3), 2, 1, 1, count_include_pad=False)],
        }
        return made[dims]

    return samples


@composite(name="nn.functional.avg_pool1d", aliases=("avg_pool1d",), samples=_avg_pool_samples(1), errors=_pool_errors(1))
def avg_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """:func:`avg_pool2d` of an input (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.avg_pool1d(torch.tensor([[1.0, 5.0, 2.0, 4.0]]), 2)
    tensor([[3., 3.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool1d.html
    """
    return _avg_pooled(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


@composite(name="nn.functional.avg_pool2d", out="same", samples=_avg_pool_samples(2), errors=_pool_errors(2))
def avg_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of an input (N, C, H, W) or (C, H, W).

    The windows are those of :func:`max_pool2d`; ``padding`` adds zeros, which count unless ``count_include_pad`` is
    false. ``divisor_override`` replaces the number of elements that a window's sum is divided by.

    >>> import flambeau as torch
    >>> torch.nn.functional.avg_pool2d(torch.arange(8.0).reshape(1, 2, 4), 2)
    tensor([[[2.5000, 4.5000]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool2d.html
    """
    return _avg_pooled(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@composite(name="nn.functional.avg_pool3d", out="same", samples=_avg_pool_samples(3), errors=_pool_errors(3))
def avg_pool3d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """:func:`avg_pool2d` of an input (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.avg_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 2)
    tensor([[[[3.5000]]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool3d.html
    """
    return _avg_pooled(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
