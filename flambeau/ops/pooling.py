"""Pooling: maxima, means and norms of windows of the last dims.

``max_pool``, ``avg_pool`` and their adaptive forms exist for one, two and three dims; each is one primitive for all
three, which works dim by dim.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from flambeau.core import dtypes
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import NOT_FLOATING, refuse
from flambeau.ops.windows import padded, per_dim, tap

# --- windows -------------------------------------------------------------------------------------------------


def _check_input(name: str, input, dims: int, kernel: str) -> None:
    shape = input._shape
    if len(shape) not in (dims + 1, dims + 2):
        if dims == 1:
            raise RuntimeError(
                f"{name}: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but "
                f"got:{list(shape)}"
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
            raise RuntimeError(f"max_pool1d() Invalid computed output size: {outputs[0]}")
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


@lru_cache(256)
def _bins(n: int, output: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the windows of adaptive pooling begin and end: ``output`` windows that cover ``n`` elements evenly."""
    i = np.arange(output)
    return i * n // output, -(-(i + 1) * n // output)


def _at(axis: int, index) -> tuple:
    return (slice(None),) * axis + (index,)


# --- maxima --------------------------------------------------------------------------------------------------


def _lowest(dtype: np.dtype):
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _max_along(x, flat, axis: int, taps: list, positions: np.ndarray, has_nan: bool):
    """The first maximum of each window along ``axis``, and its place: ``flat`` is the place within the later dims."""
    best = x[_at(axis, taps[0])].copy()
    chosen = np.zeros(best.shape, np.int32)
    inner = None if flat is None else flat[_at(axis, taps[0])].copy()
    for t, where in enumerate(taps[1:], 1):
        candidate = x[_at(axis, where)]
        newer = candidate > best
        if has_nan:  # the last NaN wins
            newer |= candidate != candidate
        np.copyto(best, candidate, where=newer)
        np.copyto(chosen, t, where=newer)
        if inner is not None:
            np.copyto(inner, flat[_at(axis, where)], where=newer)
    outputs, kernel = positions.shape
    rows = (np.arange(outputs) * kernel).reshape((-1,) + (1,) * (x.ndim - axis - 1))
    return best, positions.ravel()[rows + chosen], inner


def _max_pooled(x, sizes, taps, positions):
    """Maxima over windows given, for each of the last dims, as index expressions and positions; flat places."""
    has_nan = x.dtype.kind == "f" and bool(np.isnan(x.sum()))
    flat, step = None, 1
    for d in reversed(range(len(sizes))):
        x, place, inner = _max_along(x, flat, x.ndim - len(sizes) + d, taps[d], positions[d], has_nan)
        flat = place * step if inner is None else inner + place * step
        step *= sizes[d]
    return x, flat


def _max_pool_kernel(x, kernel, stride, padding, dilation, outputs):
    sizes = x.shape[-len(kernel) :]
    each = list(zip(sizes, outputs, kernel, stride, padding, dilation, strict=True))
    x = padded(x, _margins(sizes, outputs, kernel, stride, padding, dilation), _lowest(x.dtype))
    taps = [[tap(t, s, d, o) for t in range(k)] for _, o, k, s, _, d in each]
    return _max_pooled(x, sizes, taps, [_positions(*settings) for settings in each])


def _adaptive_max_kernel(x, outputs):
    sizes = x.shape[-len(outputs) :]
    taps, positions = [], []
    for n, o in zip(sizes, outputs, strict=True):
        start, end = _bins(n, o)
        longest = max(end - start, default=0)
        if o and n % o == 0:
            taps.append([slice(t, None, longest) for t in range(longest)])
            positions.append(start[:, None] + np.arange(longest))
        else:  # shorter windows see their last element again
            place = np.minimum(start[:, None] + np.arange(longest), end[:, None] - 1)
            taps.append(list(place.T))
            positions.append(place)
    return _max_pooled(x, sizes, taps, positions)


def _added_at(g, indices, sizes):
    plane = prod(sizes)
    rows = g.size // prod(g.shape[-len(sizes) :]) if g.size else 0
    out = np.zeros(rows * plane, g.dtype)
    at = indices.reshape(rows, -1) + (np.arange(rows) * plane)[:, None]
    np.add.at(out, at.ravel(), g.ravel())
    return out.reshape(*g.shape[: -len(sizes)], *sizes)


def _gathered(t, indices, sizes):
    lead = t._shape[: -len(sizes)]
    picked = t.reshape(*lead, prod(sizes)).gather(-1, indices.reshape(*lead, prod(indices._shape[len(lead) :])))
    return picked.reshape(indices._shape)


@op(
    name="_max_pool_grad",
    tensors="g indices",
    kernel=_added_at,
    grad={"g": lambda g, indices, sizes: _gathered(g, indices, sizes)},
    method=False,
    backward_name="MaxPoolBackwardBackward0",
)
def _max_pool_grad(g, indices, sizes):
    """The gradient of a max pool: each window's gradient added at its maximum."""
    return (*g._shape[: -len(sizes)], *sizes), g._dtype, (g, indices), {"sizes": tuple(sizes)}


def _grad_of_max_pool(g, indices, input_shape, outputs):
    return _max_pool_grad(g, indices, input_shape[-len(outputs) :])


def _max_record(dims: int):
    def check(input, kernel_size, stride, padding, dilation, ceil_mode):
        """Maxima of windows and where they are in the plane."""
        name = f"max_pool{dims}d"
        _check_input(name, input, dims, name)
        settings, outputs = _settings(name, input, dims, kernel_size, stride, padding, dilation, ceil_mode)
        shape = (*input._shape[:-dims], *outputs)
        return (shape, shape), (input._dtype, dtypes.int64), (input,), {**settings, "outputs": outputs}

    return op(
        check,
        name=f"_max_pool{dims}d",
        kernel=_max_pool_kernel,
        grad={"input": _grad_of_max_pool},
        outputs=("out", "indices"),
        method=False,
        backward_name=f"MaxPool{dims}DWithIndicesBackward0",
    )


_max_pool = {dims: _max_record(dims) for dims in (1, 2, 3)}

_MAX_POOL = """The maximum of each window of an input (N, C, {dims}) or (C, {dims}).

    Windows of ``kernel_size``, ``stride`` apart (by default the kernel's size), with ``dilation`` between their
    elements; ``padding`` adds -inf at both ends. With ``ceil_mode`` a last window that is not whole counts too.
    With ``return_indices`` also the maxima's places in the (flattened) input plane. NaN is greater than any number.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool{n}d.html
    """


def _max_pool_composite(dims: int, sizes: str, samples, errors) -> None:
    """Registers ``max_pool`` and ``max_pool_with_indices`` for a number of dims."""
    primitive = _max_pool[dims]

    def with_indices(
        input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=True
    ):
        out, indices = primitive(input, kernel_size, stride, padding, dilation, ceil_mode)
        return out, indices

    def max_pool(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        out, indices = primitive(input, kernel_size, stride, padding, dilation, ceil_mode)
        return (out, indices) if return_indices else out

    max_pool.__doc__ = _MAX_POOL.format(dims=sizes, n=dims)
    with_indices.__doc__ = f":func:`max_pool{dims}d`, and the places of the maxima."
    name = f"max_pool{dims}d"
    for function, full in ((max_pool, name), (with_indices, name + "_with_indices")):
        function.__name__ = function.__qualname__ = full
        alias = () if dims > 1 and function is with_indices else (full,)
        given = {"samples": samples, "errors": errors} if function is max_pool else {}
        composite(function, name="nn.functional." + full, aliases=alias, **given)
