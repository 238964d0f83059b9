"""Gather and scatter: one element at a time, at places that an index tensor of the same rank names along a dim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.errors import describe, warn
from flambeau.core.scalars import fitting
from flambeau.core.size import broadcast_shapes, wrap_dim
from flambeau.ops import layouts
from flambeau.ops.indexing import in_range, index_put, verify_along
from flambeau.ops.indexing import index as elements_at
from flambeau.ops.record import ErrorSample, Sample, composite, op, registry

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

# --- element by element: gather and scatter ------------------------------------------------------------------


def _sizes(x) -> tuple[int, ...]:
    """Of a tensor without dims, which counts as one number in a row, that."""
    return tuple(x.shape) or (1,)


def _check_index(name: str, input, index, called: str) -> tuple[tuple, tuple]:
    """The sizes of ``input`` and of ``index``, of which there are as many."""
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}(): Expected dtype {'int64' if name == 'gather' else 'int32/int64'} for index")
    have, wanted = _sizes(input), _sizes(index)
    if len(have) != len(wanted):
        raise RuntimeError(
            f"Index tensor must have the same number of dimensions as {called} tensor: {name}() got index of shape "
            f"{list(index.shape)} for a tensor of shape {list(input.shape)}"
        )
    return have, wanted


def _check_gather(name: str, input, dim: int, index) -> int:
    d = wrap_dim(dim, input.dim())
    if index.numel():
        have, wanted = _check_index(name, input, index, "input")
        for k, (n, m) in enumerate(zip(have, wanted, strict=True)):
            if k != d and m > n:
                raise RuntimeError(
                    f"Size does not match at dimension {k} expected index {list(index.shape)} to be no larger than self "
                    f"{list(input.shape)} apart from dimension {d}"
                )
    return d


def _check_scatter(name: str, input, dim: int, index, src=None) -> int:
    """``src`` is the tensor that is written or added, if it is one."""
    d = wrap_dim(dim, input.dim())
    if not index.numel():
        return d
    have, wanted = _check_index(name, input, index, "self")
    wrong = any([m > n for k, (n, m) in enumerate(zip(have, wanted, strict=True)) if k != d])
    if src is not None:
        given = _sizes(src)
        if not wrong:
            wrong = any([m > n for n, m in zip(given if src.shape else [1] * len(wanted), wanted, strict=False)])
            if not wrong and src.shape and len(given) < len(wanted):  # which PyTorch notices first
                raise IndexError(
                    f"Dimension out of range (expected to be in range of [{-len(given)}, {len(given) - 1}], but got {len(given)})"
                )
        if len(given) != len(wanted):
            raise RuntimeError(
                f"Index tensor must have the same number of dimensions as src tensor: {name}() got index of shape {list(index.shape)} "
                f"and src of shape {list(src.shape)}"
            )
    if wrong:
        raise RuntimeError(
            f"Expected index {list(index.shape)} to be no larger than self {list(input.shape)} apart from dimension {d}"
            + (f" and to be no larger size than src {list(src.shape)}" if src is not None else "")
        )
    return d


def _places(shape, index, dim):
    """Index arrays that address ``index``'s entries along ``dim`` and their own position along the others."""
    in_range(index, shape[dim], dim, RuntimeError)
    last = index.ndim - 1
    grid = [np.arange(n).reshape((n,) + (1,) * (last - d)) for d, n in enumerate(index.shape)]
    grid[dim] = index
    return tuple(grid)


def _gather_kernel(x, index, dim):
    if not index.size:
        return np.empty(index.shape, x.dtype)
    if not x.ndim:
        in_range(index, 1, 0)
        return np.broadcast_to(x, index.shape)
    shaped = index.reshape(1) if not index.ndim else index
    return x[_places(x.shape, shaped, dim)].reshape(index.shape)


@op(
    tensors="input index",
    checked=True,
    verify=verify_along(RuntimeError),
    out="same",
    kernel=_gather_kernel,
    grad={"input": lambda g, input_shape, dim, index: scatter_add(g.new_zeros(input_shape), dim, index, g)},
    samples=lambda make: [
        Sample(make(3, 2), 0, make.index(3, 2, 2)), Sample(make(2, 3), 1, make.index(3, 2, 4)), Sample(make(), 0, make.index(1)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "Expected dtype int64 for index", make(3), 0, make(2)),
        ErrorSample(RuntimeError, "Index tensor must have the same number of dimensions", make(3, 2), 0, make.index(3, 2)),
    ],
)  # fmt: skip
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False):
    """``out[i][j] = input[index[i][j]][j]`` for ``dim=0``, and so on.

    >>> import flambeau as torch
    >>> torch.gather(torch.tensor([[1, 2], [3, 4]]), 1, torch.tensor([[0], [1]]))
    tensor([[1],
            [4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.gather.html
    """
    d = _check_gather("gather", input, dim, index)
    return tuple(index.shape), input.dtype, (input, index), {"dim": d}


def _scatter_kernel(x, index, src, dim, reduce, include_self=True):
    out = np.array(x, order="C")
    if not index.size:
        return out
    flat = out.reshape(1) if not out.ndim else out
    index = index.reshape(1) if not index.ndim else index
    places = _places(flat.shape, index, dim)
    if isinstance(src, np.ndarray):
        src = src.reshape(1) if not src.ndim else src
        src = src[tuple(slice(n) for n in index.shape)]
    if reduce is None:
        flat[places] = src
        return out
    if not include_self:
        flat[places] = {"sum": 0, "mean": 0, "prod": 1, "amax": _lowest(out.dtype), "amin": _highest(out.dtype)}[reduce]
    # Flat, since that is what NumPy has a fast loop for.
    row, at = flat.reshape(-1), np.ravel_multi_index(places, flat.shape).reshape(-1)
    _UFUNCS[reduce].at(row, at, src.reshape(-1) if isinstance(src, np.ndarray) else src)
    if reduce == "mean":
        counts = np.maximum(np.bincount(at, minlength=flat.size) + int(include_self), 1).reshape(flat.shape)
        flat[...] = flat // counts if out.dtype.kind in "iu" else flat / counts
    return out


_UFUNCS = {"sum": np.add, "mean": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def _lowest(dtype):
    return -np.inf if dtype.kind in "fc" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype):
    return np.inf if dtype.kind in "fc" else True if dtype.kind == "b" else np.iinfo(dtype).max


def _scatter_inputs(name, input, dim, index, src):
    d = _check_scatter(name, input, dim, index, src if isinstance(src, dispatch.Tensor) else None)
    if isinstance(src, dispatch.Tensor) and src.dtype is not input.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype: got {input.dtype} and {src.dtype}")
    return d


def _part(src, shape):
    """The corner of ``src`` that an index of ``shape`` takes from."""
    for d, n in enumerate(shape):
        if src.shape[d] != n:
            src = src.narrow(d, 0, n)
    return src


def _into(g, src_shape, name):
    """``g``, the gradient of ``src``, which PyTorch has only where ``src`` and the index have the same shape."""
    if tuple(g.shape) != tuple(src_shape):
        raise RuntimeError(
            f"Function {name}Backward0 returned an invalid gradient at index 1 - got {list(g.shape)} but expected shape compatible with "
            f"{list(src_shape)}: there is a gradient only where src and index have the same shape"
        )
    return g


@op(
    name="_scatter",
    method=False,
    tensors="input index src",
    checked=True,
    verify=verify_along(RuntimeError),
    kernel=_scatter_kernel,
    grad={
        "input": lambda g, dim, index: g.scatter(dim, index, 0),
        "src": lambda g, dim, index, src_shape: _into(g.gather(dim, index), src_shape, "Scatter"),
    },
    backward_name="ScatterBackward0",
)
def _scatter(input: Tensor, dim: int, index: Tensor, src: Tensor):
    """``input`` with ``src`` (a tensor or a number) written at the places that ``index`` names along ``dim``."""
    d = _scatter_inputs("scatter", input, dim, index, src)
    return tuple(input.shape), input.dtype, (input, index, src), {"dim": d, "reduce": None}


@composite(
    inplace=True,
    out="same",
    samples=lambda make: [
        Sample(make(3, 2), 0, make.index(3, 1, 2), make(1, 2)), Sample(make(3, 2), 0, make.index(3, 1, 2), 1.5),
    ],
)  # fmt: skip
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | Number | complex | None = None,
    *,
    value: Number | complex | None = None,
    reduce: str | None = None,
) -> Tensor:
    """``input`` with ``src`` written at ``index``: ``out[index[i][j]][j] = src[i][j]`` for ``dim=0``, and so on.

    Raises ``RuntimeError`` for another ``reduce`` than ``"add"`` and ``"multiply"``.

    >>> import flambeau as torch
    >>> torch.scatter(torch.zeros(3), 0, torch.tensor([2, 0]), torch.tensor([1.0, 5.0]))
    tensor([5., 0., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.scatter.html
    """
    src = value if src is None else src
    if reduce is None:
        if not isinstance(src, dispatch.Tensor):
            src = fitting(src, input.dtype)
        return _scatter(input, dim, index, src)
    if reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    if isinstance(src, dispatch.Tensor):
        warn(
            "The reduce argument of torch.scatter with Tensor src is deprecated and will be removed in a future PyTorch release. "
            "Use torch.scatter_reduce instead for more reduction options."
        )
    if not isinstance(src, dispatch.Tensor):
        number: Any = src
        src = input.new_full(index.shape, number)
    return scatter_reduce(input, dim, index, src, {"add": "sum", "multiply": "prod"}[reduce])


@op(
    tensors="input index src",
    checked=True,
    verify=verify_along(RuntimeError),
    inplace=True,
    out="same",
    kernel=lambda x, index, src, dim: _scatter_kernel(x, index, src, dim, "sum"),
    grad={
        "input": lambda g: g,
        "src": lambda g, dim, index, src_shape: _into(g.gather(dim, index), src_shape, "ScatterAdd"),
    },
    samples=lambda make: [
        Sample(make(3, 2), 0, make.index(3, 4, 2), make(4, 2)),
        Sample(make(2, 3), 1, make.index(3, 2, 2), make(2, 2)),
    ],
)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor):
    """``input`` with ``src`` added at ``index``: ``out[index[i][j]][j] += src[i][j]`` for ``dim=0``, and so on.

    Raises ``TypeError`` for a ``src`` that is no tensor.

    >>> import flambeau as torch
    >>> torch.scatter_add(torch.zeros(3), 0, torch.tensor([2, 2]), torch.tensor([1.0, 5.0]))
    tensor([0., 0., 6.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.scatter_add.html
    """
    if not isinstance(src, dispatch.Tensor):
        raise TypeError(f"scatter_add(): argument 'src' (position 3) must be Tensor, not {describe(src)}")
    d = _scatter_inputs("scatter_add", input, dim, index, src)
    return tuple(input.shape), input.dtype, (input, index, src), {"dim": d}


def _product_gradients(g, input, index, part, out, dim, include_self):
    """Of products: each factor's is the product of the others, which is a quotient unless the factor is 0. So a 0 that stands alone
    at its place is left out of the product, rather than divided by: what is left has gradients of its own.
    """
    own = input.masked_fill(input == 0, 1)
    own = g * own.scatter_reduce(dim, index, part, "prod", include_self=include_self) / own
    zero = part == 0
    alone = zero & (input.new_zeros(input.shape).scatter_add(dim, index, zero.to(input.dtype)).gather(dim, index) == 1)
    others = input.scatter_reduce(dim, index, part.masked_fill(alone, 1), "prod", include_self=include_self)
    theirs = (g * others).gather(dim, index).where(alone, (g * out).gather(dim, index) / part.masked_fill(zero, 1))
    return own, theirs


def _scatter_reduce_gradient(g, needs, input, index, src, out, dim, reduce, include_self):
    """PyTorch's rules; where several entries attain a maximum they share its gradient."""
    if needs[2] and index.shape != src.shape:
        if reduce in ("sum", "mean"):
            _into(index, src.shape, "ScatterReduce")
        broadcast_shapes(src.shape, index.shape)  # which raises, as PyTorch's rules do
    ones = g.new_ones(index.shape)
    if reduce in ("sum", "mean"):
        if reduce == "mean":
            counts = (g.new_ones(g.shape) if include_self else g.new_zeros(g.shape)).scatter_add(dim, index, ones)
            g = g / counts.clamp(min=1)
        own, theirs = g, g.gather(dim, index)
    elif reduce == "prod":
        own, theirs = _product_gradients(g, input, index, _part(src, index.shape), out, dim, include_self)
    else:
        part = _part(src, index.shape)
        mine = (input == out).to(g.dtype)
        hits = (part == out.gather(dim, index)).to(g.dtype)
        counts = (mine if include_self else g.new_zeros(g.shape)).scatter_add(dim, index, hits)
        share = g / counts.clamp(min=1)
        own, theirs = share * mine, share.gather(dim, index) * hits
    if not include_self:
        own = own.scatter(dim, index, 0)
    return own, None, theirs if needs[2] else None


def _expand_scatter_mean(e, input, index, src, dim, reduce, include_self):
    """Sums, divided by how many are added up."""
    if reduce != "mean" or input.dtype not in (dtypes.float32, dtypes.float64):
        e.refuse("computed as it is")
    sums = e.node_of(e.node.op, input.shape, [input, index, src], {"dim": dim, "reduce": "sum", "include_self": include_self})
    one = e.map(lambda b, i: b.cast(b.eq(i, i), input.dtype), index)
    own = e.map(lambda b, x: b.const(int(include_self), x.dtype), input)
    counts = e.node_of(registry["scatter_add"], input.shape, [own, index, one], {"dim": dim})
    return e.map(lambda b, x, n: b.div(x, b.select(b.eq(n, 0), 1, n)), sums, counts)


@op(
    tensors="input index src",
    checked=True,
    verify=verify_along(RuntimeError),
    inplace=True,
    out="same",
    kernel=_scatter_kernel,
    expand=_expand_scatter_mean,
    grad={"*": _scatter_reduce_gradient},
    samples=lambda make: [
        Sample(make(3, 2), 0, make.index(3, 4, 2), make(4, 2), reduce, include_self=include)
        for reduce in ("sum", "prod", "mean", "amax", "amin")
        for include in (True, False)
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "reduce argument must be", make(3), 0, make.index(3, 2), make(2), "max"),
        ErrorSample(
            RuntimeError,
            "Index tensor must have the same number of dimensions as src tensor",
            make(3),
            0,
            make.index(3, 2),
            make(2, 1),
            "sum",
        ),
    ],
)
def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True):
    """``input`` with ``src``'s entries for each place reduced by sum, prod, mean, amax or amin.

    Raises ``RuntimeError`` for another ``reduce``, ``TypeError`` for a ``src`` that is no tensor.

    >>> import flambeau as torch
    >>> torch.scatter_reduce(torch.zeros(3), 0, torch.tensor([2, 2]), torch.tensor([1.0, 5.0]), "amax")
    tensor([0., 0., 5.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.scatter_reduce.html
    """
    d = _scatter_inputs("scatter_reduce", input, dim, index, src)
    if not isinstance(src, dispatch.Tensor):
        raise TypeError(f"scatter_reduce(): argument 'src' (position 4) must be Tensor, not {describe(src)}")
    if reduce not in _UFUNCS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}.")
    attrs = {"dim": d, "reduce": reduce, "include_self": include_self}
    return tuple(input.shape), input.dtype, (input, index, src), attrs


@composite(out="same", samples=lambda make: [Sample(make(2, 3), make.index(3, 2, 3), 1), Sample(make(2, 3), make.index(6, 4))])
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """The elements at ``indices`` along ``dim`` (as ``numpy.take_along_axis``, with broadcasting).

    Raises ``RuntimeError`` for indices of another dtype than int64, or of another number of dims.

    >>> import flambeau as torch
    >>> x = torch.tensor([[3, 1], [2, 4]])
    >>> torch.take_along_dim(x, torch.argsort(x, dim=1), dim=1)
    tensor([[1, 3],
            [2, 4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.take_along_dim.html
    """
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {dtypes.scalar_name(indices.dtype)}")
    if dim is None:
        return input.reshape(-1).gather(0, indices.reshape(-1))
    d = wrap_dim(dim, input.dim())
    if input.dim() != indices.dim():
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.dim()} dimensions for input, and {indices.dim()} dimensions for indices"
        )
    others = list(broadcast_shapes(*[tuple([n if k != d else 1 for k, n in enumerate(t.shape)]) for t in (input, indices)]))
    mine, theirs = others[:], others[:]
    mine[d], theirs[d] = input.shape[d], indices.shape[d]
    indices = indices.where(indices >= 0, indices + input.shape[d])
    return input.expand(mine).gather(d, indices.expand(theirs))


@composite(layout=layouts.row_major, out="same", samples=lambda make: [Sample(make(2, 3), make.index(6, 2, 2))])
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at ``index`` of ``input`` seen as one row, in ``index``'s shape.

    Raises ``RuntimeError`` for an ``index`` of another dtype than int64.

    >>> import flambeau as torch
    >>> torch.take(torch.tensor([[1, 2], [3, 4]]), torch.tensor([3, 0]))
    tensor([4, 1])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.take.html
    """
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype}")
    return elements_at(input.reshape(-1), (index,))


@composite(
    layout=layouts.as_first,
    name="put",
    inplace=True,
    samples=lambda make: [Sample(make(2, 3), make.index(6, 2, unique=True), make(2))],
)
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """``input`` with ``source`` written (or added) at ``index`` of ``input`` seen as one row.

    Raises ``IndexError`` where ``source`` has not as many elements as ``index``.

    >>> import flambeau as torch
    >>> torch.put(torch.zeros(2, 2), torch.tensor([3, 0]), torch.tensor([1.0, 5.0]))
    tensor([[5., 0.],
            [0., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.put.html
    """
    if source.numel() != index.numel():
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source.numel()}, index.numel() = {index.numel()}"
        )
    row = index_put(input.reshape(-1), (index.reshape(-1),), source.reshape(-1), bool(accumulate))
    return row.reshape(input.shape)
