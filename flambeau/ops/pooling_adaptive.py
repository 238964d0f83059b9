"""Pooling to a given size, norms of windows, and the way back from a max pool."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core import dtypes
from flambeau.ops import layouts
from flambeau.ops.creation import refuse_too_many
from flambeau.ops.pooling import avg_pool1d, avg_pool2d, avg_pool3d, max_pool_grad, max_pooled
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import NOT_FLOATING, refuse
from flambeau.ops.windows import per_dim, require_elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor


@lru_cache(256)
def _bins(n: int, output: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the windows along a dim begin and end: ``output`` windows that cover ``n`` elements evenly."""
    i = np.arange(output)
    return i * n // output, -(-(i + 1) * n // output)


def _output_size(name: str, input, output_size, dims: int, may_be_empty: bool = False) -> tuple[int, ...]:
    require_tensors(name, input=input)
    shape = input._shape
    if len(shape) not in (dims + 1, dims + 2):
        raise RuntimeError(f"{name}(): Expected {dims + 1}D or {dims + 2}D tensor, but got {list(shape)}")
    if not may_be_empty:
        require_elements(name, input, len(shape) - dims if "avg" in name and dims < 3 else 1)  # the former may have no channels
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * dims
    if len(sizes) != dims:
        raise RuntimeError(f"{name}: output_size must be {dims}, one int or a tuple of {dims}, but got {tuple(sizes)}")
    sizes = tuple([n if size is None else int(size) for size, n in zip(sizes, shape[-dims:], strict=True)])
    if min(sizes) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received {{{', '.join(map(str, sizes))}}}"
        )
    refuse_too_many((*shape[:-dims], *sizes))
    refuse(name, input, kinds=NOT_FLOATING)
    return sizes


# --- means ---------------------------------------------------------------------------------------------------


def _binned(x, outputs):
    """The sums of adaptive windows.

    Element j is in window i where j n_out < (i + 1) n_in and (j + 1) n_out > i n_in. This is symmetric, so the
    transpose (each element's sum over the windows that it is in) is the same function the other way.
    """
    lead = x.ndim - len(outputs)
    for axis in reversed(range(lead, x.ndim)):
        n, output = x.shape[axis], outputs[axis - lead]
        if output and n % output == 0:
            x = x.reshape(*x.shape[:axis], output, n // output, *x.shape[axis + 1 :]).sum(axis + 1)
            continue
        start, end = _bins(n, output)
        # A place after the last element, which is zero, stands in for what shorter windows lack.
        longer = np.concatenate([x, np.zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)], axis)
        total = x.take(start, axis) + x.dtype.type(0)  # sums start from 0: those of -0.0 are 0.0
        for t in range(1, max(end - start, default=0)):
            total += longer.take(np.where(start + t < end, start + t, n), axis)
        x = total
    return x


def _bin_counts(sizes, outputs) -> np.ndarray:
    total = np.ones((), np.float64)
    for n, output in zip(sizes, outputs, strict=True):
        start, end = _bins(n, output)
        total = np.multiply.outer(total, end - start)
    return total


def _adaptive_mean_kernel(x, outputs):
    return _binned(x, outputs) / _bin_counts(x.shape[-len(outputs) :], outputs).astype(x.dtype)


def _adaptive_mean_grad_kernel(g, sizes):
    outputs = g.shape[-len(sizes) :]
    return _binned(g / _bin_counts(sizes, outputs).astype(g.dtype), sizes)


def _require_gradient(grad) -> None:
    if 0 in grad._shape[1:]:
        raise RuntimeError(
            f"Expected grad_output to have non-zero size for non-batch dimensions, but grad_output has sizes {list(grad._shape)}"
        )


@op(
    layout=layouts.pooled,
    name="_adaptive_avg_pool_grad",
    kernel=_adaptive_mean_grad_kernel,
    grad={"grad": lambda g, grad_shape, sizes: _adaptive_avg_pool[len(sizes)](g, tuple(grad_shape[-len(sizes) :]))},
    method=False,
)
def _adaptive_avg_pool_grad(grad: Tensor, sizes: Sequence[int]):
    """The gradient of an adaptive mean pool: each window's gradient, divided, at all its elements."""
    _require_gradient(grad)
    return (*grad._shape[: -len(sizes)], *sizes), grad._dtype, (grad,), {"sizes": sizes}


def _adaptive_avg_record(dims: int):
    def check(input: Tensor, outputs):
        """Means of adaptive windows."""
        return (*input._shape[:-dims], *outputs), input._dtype, (input,), {"outputs": outputs}

    return op(
        check,
        name=f"_adaptive_avg_pool{dims}d",
        kernel=_adaptive_mean_kernel,
        grad={"input": lambda g, input_shape: _adaptive_avg_pool_grad(g, tuple(input_shape[-dims:]))},
        layout=(layouts.sequences, layouts.images, None)[dims - 1],
        method=False,
        backward_name=f"AdaptiveAvgPool{dims}DBackward0",
    )


_adaptive_avg_pool: dict[int, Any] = {dims: _adaptive_avg_record(dims) for dims in (1, 2, 3)}


def _adaptive_avg_pooled(dims: int, input, output_size):
    one = output_size in (1, (1,) * dims, [1] * dims)
    outputs = _output_size(f"adaptive_avg_pool{dims}d", input, output_size, dims, may_be_empty=one)
    if one or outputs == (1,) * dims:
        return input.mean(tuple(range(-dims, 0)), keepdim=True)
    return _adaptive_avg_pool[dims](input, outputs)


def _adaptive_samples(dims: int):
    forms: dict[int, list[tuple[int, ...]]] = {1: [(2, 2, 5), (2, 4)], 2: [(1, 2, 4, 5), (2, 4, 3)], 3: [(1, 1, 2, 4, 3)]}
    shapes = forms[dims]

    def samples(make) -> list[Sample]:
        return [Sample(make(*shape), size) for shape in shapes for size in (2, 1, (3,) * (dims - 1) + (4,))]

    return samples


def _adaptive_errors(make, dims: int) -> list[ErrorSample]:
    return [
        ErrorSample(RuntimeError, "tensor, but got", make(*[3] * dims), 2),
        ErrorSample(RuntimeError, "output_size must be", make(2, *[3] * dims), (2,) * (dims + 1)),
    ]


@composite(
    name="nn.functional.adaptive_avg_pool1d",
    aliases=("adaptive_avg_pool1d",),
    samples=_adaptive_samples(1),
    errors=lambda make: _adaptive_errors(make, 1),
)
def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """:func:`adaptive_avg_pool2d` of an input (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.adaptive_avg_pool1d(torch.tensor([[1.0, 2.0, 3.0]]), 2)
    tensor([[1.5000, 2.5000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool1d.html
    """
    return _adaptive_avg_pooled(1, input, output_size)


@composite(
    layout=layouts.images,
    name="nn.functional.adaptive_avg_pool2d",
    samples=_adaptive_samples(2),
    errors=lambda make: _adaptive_errors(make, 2),
)
def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    r"""Means of as many windows as ``output_size`` says, of an input (N, C, H, W) or (C, H, W).

    Window i of n along a dim of m elements goes from :math:`\lfloor i m / n \rfloor` to
    :math:`\lceil (i + 1) m / n \rceil`. ``None`` keeps a dim's size.

    >>> import flambeau as torch
    >>> torch.nn.functional.adaptive_avg_pool2d(torch.arange(8.0).reshape(1, 2, 4), (1, 2))
    tensor([[[2.5000, 4.5000]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool2d.html
    """
    return _adaptive_avg_pooled(2, input, output_size)


@composite(
    name="nn.functional.adaptive_avg_pool3d",
    samples=_adaptive_samples(3),
    errors=lambda make: _adaptive_errors(make, 3),
)
def adaptive_avg_pool3d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """:func:`adaptive_avg_pool2d` of an input (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.adaptive_avg_pool3d(torch.ones(2, 4, 5, 6), (1, 2, None)).shape
    torch.Size([2, 1, 2, 6])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool3d.html
    """
    return _adaptive_avg_pooled(3, input, output_size)


# --- maxima --------------------------------------------------------------------------------------------------


def _adaptive_max_kernel(x, outputs):
    sizes = x.shape[-len(outputs) :]
    if 0 in outputs:
        empty = np.empty((*x.shape[: -len(outputs)], *outputs), x.dtype)
        return empty, empty.astype(np.int64)
    taps, positions = [], []
    for n, output in zip(sizes, outputs, strict=True):
        start, end = _bins(n, output)
        longest = max(end - start)
        if n % output == 0:
            taps.append([slice(t, None, longest) for t in range(longest)])
            positions.append(start[:, None] + np.arange(longest))
        else:  # shorter windows see their last element again
            place = np.minimum(start[:, None] + np.arange(longest), end[:, None] - 1)
            taps.append(list(place.T))
            positions.append(place)
    return max_pooled(x, sizes, taps, positions)


def _grad_of_maxima(g, indices, sizes):
    _require_gradient(g)
    return max_pool_grad(g, indices, sizes)


def _adaptive_max_record(dims: int):
    def check(input: Tensor, output_size):
        """Maxima of adaptive windows and where they are in the plane."""
        outputs = _output_size(f"adaptive_max_pool{dims}d", input, output_size, dims)
        shape = (*input._shape[:-dims], *outputs)
        return (shape, shape), (input._dtype, dtypes.int64), (input,), {"outputs": outputs}

    return op(
        check,
        name=f"_adaptive_max_pool{dims}d",
        kernel=_adaptive_max_kernel,
        grad={"input": lambda g, indices, input_shape: _grad_of_maxima(g, indices, input_shape[-dims:])},
        outputs=("out", "indices"),
        layout=(layouts.sequences, layouts.images, None)[dims - 1],
        method=False,
        backward_name=f"AdaptiveMaxPool{dims}DBackward0",
    )


_adaptive_max_pool = {dims: _adaptive_max_record(dims) for dims in (1, 2, 3)}


def _adaptive_max_results(dims: int, input, output_size, return_indices: bool):
    out, indices = _adaptive_max_pool[dims](input, output_size)
    return (out, indices) if return_indices else out


@composite(
    name="nn.functional.adaptive_max_pool1d",
    samples=_adaptive_samples(1),
    errors=lambda make: _adaptive_errors(make, 1),
)
def adaptive_max_pool1d(input: Tensor, output_size: int | Sequence[int], return_indices: bool = False) -> Tensor:
    """:func:`adaptive_max_pool2d` of an input (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.adaptive_max_pool1d(torch.tensor([[1.0, 2.0, 3.0]]), 2)
    tensor([[2., 3.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool1d.html
    """
    return _adaptive_max_results(1, input, output_size, return_indices)


@composite(
    name="nn.functional.adaptive_max_pool2d",
    samples=_adaptive_samples(2),
    errors=lambda make: _adaptive_errors(make, 2),
)
def adaptive_max_pool2d(input: Tensor, output_size: int | Sequence[int], return_indices: bool = False) -> Tensor:
    """Maxima of the windows of :func:`adaptive_avg_pool2d`; with ``return_indices`` also their places in the plane.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.adaptive_max_pool2d(torch.arange(8.0).reshape(1, 2, 4), (1, 2))
    tensor([[[5., 7.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool2d.html
    """
    return _adaptive_max_results(2, input, output_size, return_indices)


@composite(
    name="nn.functional.adaptive_max_pool3d",
    samples=_adaptive_samples(3),
    errors=lambda make: _adaptive_errors(make, 3),
)
def adaptive_max_pool3d(input: Tensor, output_size: int | Sequence[int], return_indices: bool = False) -> Tensor:
    """:func:`adaptive_max_pool2d` of an input (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.adaptive_max_pool3d(torch.ones(2, 4, 5, 6), (1, 2, None)).shape
    torch.Size([2, 1, 2, 6])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool3d.html
    """
    return _adaptive_max_results(3, input, output_size, return_indices)


@composite(name="nn.functional.adaptive_max_pool1d_with_indices", aliases=("adaptive_max_pool1d",))
def adaptive_max_pool1d_with_indices(input: Tensor, output_size: int | Sequence[int], return_indices: bool = True):
    """:func:`adaptive_max_pool1d`, and the places of the maxima.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.adaptive_max_pool1d_with_indices(torch.tensor([[1.0, 2.0, 3.0]]), 2)
    (tensor([[2., 3.]]), tensor([[1, 2]]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool1d_with_indices.html
    """
    return _adaptive_max_results(1, input, output_size, True)


@composite(name="nn.functional.adaptive_max_pool2d_with_indices")
def adaptive_max_pool2d_with_indices(input: Tensor, output_size: int | Sequence[int], return_indices: bool = True):
    """:func:`adaptive_max_pool2d`, and the places of the maxima.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.adaptive_max_pool2d_with_indices(torch.arange(8.0).reshape(1, 2, 4), (1, 2))
    (tensor([[[5., 7.]]]), tensor([[[5, 7]]]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool2d_with_indices.html
    """
    return _adaptive_max_results(2, input, output_size, True)


@composite(name="nn.functional.adaptive_max_pool3d_with_indices")
def adaptive_max_pool3d_with_indices(input: Tensor, output_size: int | Sequence[int], return_indices: bool = True):
    """:func:`adaptive_max_pool3d`, and the places of the maxima.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.adaptive_max_pool3d_with_indices(torch.arange(8.0).reshape(1, 2, 2, 2), 1)[1].flatten()
    tensor([7])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool3d_with_indices.html
    """
    return _adaptive_max_results(3, input, output_size, True)


# --- norms ---------------------------------------------------------------------------------------------------


def _lp_pooled(dims: int, input, norm_type, kernel_size, stride, ceil_mode):
    pool = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}[dims]
    means = pool(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    # The sign of an odd power's mean is lost: only what is positive has a root.
    count = prod(per_dim(kernel_size, dims, "kernel_size", f"lp_pool{dims}d"))
    return ((means.sign() * means.abs().relu()) * count).pow(1.0 / norm_type)


def _lp_samples(*shape: int):
    return lambda make: [
        Sample(make(*shape, low=0.5, high=2), 2, 2),
        Sample(make(*shape, low=0.5, high=2), 3.0, 2, 1, True),
    ]


@composite(name="nn.functional.lp_pool1d", samples=_lp_samples(2, 5))
def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: int, stride: int | Sequence[int] | None = None, ceil_mode: bool = False
) -> Tensor:
    """:func:`lp_pool2d` of an input (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.lp_pool1d(torch.tensor([[3.0, 4.0, 6.0, 8.0]]), 2, 2)
    tensor([[ 5., 10.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool1d.html
    """
    return _lp_pooled(1, input, norm_type, kernel_size, stride, ceil_mode)


@composite(name="nn.functional.lp_pool2d", samples=_lp_samples(2, 4, 4))
def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    r""":math:`(\sum x^p)^{1/p}` over each window of an input (N, C, H, W) or (C, H, W), with p = ``norm_type``.

    The windows are those of :func:`avg_pool2d`.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.lp_pool2d(torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]), 2, 2)
    tensor([[[5.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool2d.html
    """
    return _lp_pooled(2, input, norm_type, kernel_size, stride, ceil_mode)


@composite(name="nn.functional.lp_pool3d", samples=_lp_samples(1, 2, 3, 2))
def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """:func:`lp_pool2d` of an input (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.lp_pool3d(torch.ones(1, 2, 2, 2), 1, 2)
    tensor([[[[8.]]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool3d.html
    """
    return _lp_pooled(3, input, norm_type, kernel_size, stride, ceil_mode)


# --- the way back --------------------------------------------------------------------------------------------


def _unpooled_size(input, dims: int, kernel, stride, padding, output_size) -> tuple[int, ...]:
    default = [(n - 1) * s - 2 * p + k for n, k, s, p in zip(input._shape[-dims:], kernel, stride, padding, strict=True)]
    if output_size is None:
        return tuple(default)
    given = tuple(output_size)
    if len(given) == dims + 2:
        given = given[2:]
    if len(given) != dims:
        raise ValueError(
            f"output_size should be a sequence containing {dims} or {dims + 2} elements, but it has a length of '{len(given)}'"
        )
    for d, (n, usual, s) in enumerate(zip(given, default, stride, strict=True)):
        if not usual - s < n < usual + s:
            raise ValueError(f'invalid output_size "{given}" (dim {d} must be between {usual - s} and {usual + s})')
    return given


def _max_unpooled(dims: int, input, indices, kernel_size, stride, padding, output_size):
    name = f"max_unpool{dims}d"
    kernel = per_dim(kernel_size, dims, "kernel_size", name)
    stride = per_dim(stride, dims, "stride", name) if stride not in (None, (), []) else kernel
    padding = per_dim(padding, dims, "padding", name)
    if input.dim() not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"Input to max_unpooling{dims}d should be a {dims + 1}d or {dims + 2}d Tensor, but got a tensor with "
            f"{input.dim()} dimensions."
        )
    if indices._dtype is not dtypes.int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices._dtype}")
    if indices._shape != input._shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input._shape)}) but got indices "
            f"tensor with shape: {list(indices._shape)}"
        )
    require_elements(name, input)
    sizes = _unpooled_size(input, dims, kernel, stride, padding, output_size)
    lead, plane = input._shape[:-dims], prod(input._shape[-dims:])
    flat = input.new_zeros((*lead, prod(sizes)))
    return flat.scatter(-1, indices.reshape(*lead, plane), input.reshape(*lead, plane)).reshape(*lead, *sizes)


@composite(
    name="nn.functional.max_unpool1d",
    samples=lambda make: [Sample(make(2, 3), make(2, 3, requires_grad=False).argsort(1) * 2, 2)],
)
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: int | Sequence[int] | None = None,
) -> Tensor:
    """:func:`max_unpool2d` of an input (N, C, L) or (C, L).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> values, places = F.max_pool1d(torch.tensor([[1.0, 5.0, 2.0, 4.0]]), 2, return_indices=True)
    >>> F.max_unpool1d(values, places, 2)
    tensor([[0., 5., 0., 4.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool1d.html
    """
    return _max_unpooled(1, input, indices, kernel_size, stride, padding, output_size)


@composite(
    layout=layouts.images,
    name="nn.functional.max_unpool2d",
    samples=lambda make: [
        Sample(make(2, 1, 3), make(2, 1, 3, requires_grad=False).argsort(2) * 2, 2),
        Sample(make(2, 1, 3), make(2, 1, 3, requires_grad=False).argsort(2), 2, output_size=(3, 7)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "should be type int64", make(1, 2, 2), make(1, 2, 2), 2),
        ErrorSample(ValueError, "invalid output_size", make(1, 2, 2), make(1, 2, 2).long(), 2, output_size=(9, 9)),
    ],
)
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: int | Sequence[int] | None = None,
) -> Tensor:
    """Puts the maxima that :func:`max_pool2d` found back where they were; zeros elsewhere.

    ``indices`` are those of the pool with ``return_indices``; ``output_size`` tells apart the input sizes that pool to
    the same size.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> values, places = F.max_pool2d(torch.arange(4.0).reshape(1, 2, 2), 2, return_indices=True)
    >>> F.max_unpool2d(values, places, 2)
    tensor([[[0., 0.],
             [0., 3.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool2d.html
    """
    return _max_unpooled(2, input, indices, kernel_size, stride, padding, output_size)


@composite(
    name="nn.functional.max_unpool3d",
    samples=lambda make: [Sample(make(2, 1, 1, 4), make(2, 1, 1, 4, requires_grad=False).argsort(3), 2)],
)
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: int | Sequence[int] | None = None,
) -> Tensor:
    """:func:`max_unpool2d` of an input (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> values, places = F.max_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 2, return_indices=True)
    >>> F.max_unpool3d(values, places, 2).flatten()
    tensor([0., 0., 0., 0., 0., 0., 0., 7.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool3d.html
    """
    return _max_unpooled(3, input, indices, kernel_size, stride, padding, output_size)
