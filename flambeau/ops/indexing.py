"""Reading and writing at places given by index tensors or masks.

Index tensors are int64 for the kernels. What is out of range raises where the op runs, with the line that recorded it.
"""

from __future__ import annotations

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.size import broadcast_shapes, wrap_dim
from flambeau.ops.record import ErrorSample, Sample, composite, op


def _check_index(index, name: str) -> None:
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, got {index.dtype}")


def _in_range(index: np.ndarray, n: int, dim: int, error: type[Exception] = IndexError) -> np.ndarray:
    """``index``, or the error that PyTorch raises where an entry is not in ``[0, n)``."""
    if index.size:
        low, high = index.min(), index.max()
        if low < 0 or high >= n:
            bad = low if low < 0 else high
            raise error(f"index {bad} is out of bounds for dimension {dim} with size {n}")
    return index


# --- advanced indexing: x[i, :, mask] ------------------------------------------------------------------------


def _resolve(shape: tuple[int, ...], indices: tuple) -> tuple:
    """Index arrays checked and counted from the front, full slices where there is none."""
    out = []
    for d, i in enumerate(indices):
        if i is None:
            out.append(slice(None))
            continue
        n = shape[d]
        if i.size:
            low, high = i.min(), i.max()
            if low < -n or high >= n:
                raise IndexError(f"index {low if low < -n else high} is out of bounds for dimension {d} with size {n}")
        out.append(i)
    return tuple(out)


def _index_kernel(x, *indices):
    return x[_resolve(x.shape, indices)]


def _index_put_kernel(x, values, *indices, accumulate):
    out = x.copy()
    where = _resolve(x.shape, indices)
    if accumulate:
        np.add.at(out, where, values)
    else:
        out[where] = values
    return out


def _index_gradient(g, needs, input_shape, indices):
    if not needs[0]:
        return (None,) * len(needs)
    zeros = g.new_zeros(input_shape)
    return (index_put(zeros, indices, g, True), *[None] * (len(needs) - 1))


def index_shape(shape: tuple[int, ...], indices: tuple) -> tuple[int, ...]:
    """The shape of ``x[indices]``: the broadcast index shape in the place of the indexed dims (first, where apart)."""
    at = [d for d, i in enumerate(indices) if i is not None]
    try:
        block = broadcast_shapes(*[indices[d].shape for d in at])
    except RuntimeError:
        shapes = ", ".join(str(list(indices[d].shape)) for d in at)
        raise IndexError(f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}") from None
    rest = tuple(n for d, n in enumerate(shape) if d >= len(indices) or indices[d] is None)
    if at[-1] - at[0] == len(at) - 1:
        return rest[: at[0]] + tuple(block) + rest[at[0] :]
    return tuple(block) + rest


@op(
    name="_index",
    method=False,
    checked=True,
    tensors="input *indices",
    kernel=_index_kernel,
    grad={"*": _index_gradient},
    backward_name="IndexBackward0",
)
def index(input, indices):
    """``input`` at index tensors (int64, or ``None`` for a whole dim), with NumPy's rules."""
    return index_shape(tuple(input.shape), indices), input.dtype, (input, *indices), {}


def _index_put_gradient(g, needs, accumulate, indices):
    own = None
    if needs[0]:
        own = g if accumulate else index_put(g, indices, g.new_zeros(()), False)
    return (own, index(g, indices) if needs[1] else None, *[None] * (len(needs) - 2))


@op(
    name="_index_put",
    method=False,
    checked=True,
    tensors="input values *indices",
    kernel=_index_put_kernel,
    grad={"*": _index_put_gradient},
    backward_name="IndexPutBackward0",
)
def index_put(input, indices, values, accumulate):
    """``input`` with ``values`` written, or added, at index tensors."""
    if values.dtype is not input.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {input.dtype} for the destination and "
            f"{values.dtype} for the source."
        )
    target = index_shape(tuple(input.shape), indices)
    try:
        fits = broadcast_shapes(values.shape, target) == target
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(values.shape)} cannot be broadcast to indexing result of shape "
            f"{list(target)}"
        )
    return tuple(input.shape), input.dtype, (input, values, *indices), {"accumulate": accumulate}


def expand_masks(input, indices) -> tuple:
    """Index tensors as int64, with each boolean mask replaced by the indices of its true entries."""
    out: list = []
    for i in indices:
        if i is None:
            out.append(None)
        elif i.dtype in (dtypes.bool, dtypes.uint8):
            for k, n in enumerate(i.shape):
                d = len(out) + k
                have = input.shape[d] if d < input.dim() else None
                if n != have:
                    raise IndexError(
                        f"The shape of the mask {list(i.shape)} at index {k} does not match the shape of the indexed tensor "
                        f"{list(input.shape)} at index {d}"
                    )
            out.extend(dispatch.wrap(a, dtypes.int64) for a in np.nonzero(i._array()))
        elif i.dtype in (dtypes.int64, dtypes.int32):
            out.append(i.to(dtypes.int64))
        else:
            raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, got {i.dtype}")
    if len(out) > input.dim():
        raise IndexError(f"too many indices for tensor of dimension {input.dim()}")
    return tuple(out)


@composite(name="index_put", inplace=True)
def index_put_(input, indices, values, accumulate=False):
    """``input`` with ``values`` written (or added) at the tuple of index tensors ``indices``."""
    return index_put(input, expand_masks(input, indices), values, bool(accumulate))


# --- whole slices --------------------------------------------------------------------------------------------


def _index_select_gradient(g, input_shape, dim, index):
    return index_add(g.new_zeros(input_shape), dim, index, g)


@op(
    tensors="input index",
    checked=True,
    out=True,
    kernel=lambda x, index, dim: np.take(x, _in_range(index.reshape(-1), x.shape[dim] if x.ndim else 1, dim), dim).reshape(
        x.shape if not x.ndim else x.shape[:dim] + (index.size,) + x.shape[dim + 1 :]
    ),
    grad={"input": _index_select_gradient},
    samples=lambda make: [
        Sample(make(3, 2), 0, make.index(3, 4)), Sample(make(2, 3), -1, make.index(3, 2)), Sample(make(), 0, make.index(1, 1)),
    ],
    errors=lambda make: [
        ErrorSample(IndexError, "Index is supposed to be a vector", make(3, 2), 0, make.index(3, 2, 2)),
        ErrorSample(RuntimeError, "Expected dtype int32/int64", make(3), 0, make(2)),
    ],
)  # fmt: skip
def index_select(input, dim, index):
    """The slices of ``dim`` at the entries of the 1-d ``index``, as a copy."""
    d = wrap_dim(dim, input.dim())
    _check_index(index, "index_select")
    if index.dim() > 1:
        raise IndexError(f"index_select(): Index is supposed to be a vector, but got dim: {index.dim()}")
    shape = input.shape[:d] + (index.numel(),) + input.shape[d + 1 :] if input.dim() else ()
    return shape, input.dtype, (input, index), {"dim": d}


def _index_add_kernel(x, index, source, alpha, dim):
    out = np.array(x, order="C")
    flat = out.reshape(1) if not out.ndim else out
    index = _in_range(index.reshape(-1), flat.shape[dim], dim)
    source = source.reshape((1,)) if not source.ndim else source
    np.add.at(np.moveaxis(flat, dim, 0), index, np.moveaxis(source if alpha == 1 else alpha * source, dim, 0))
    return out


def _check_slices(name, input, dim, index, source):
    d = wrap_dim(dim, input.dim())
    _check_index(index, name)
    if index.dim() > 1:
        raise RuntimeError(f"{name}(): Index should have dimension 1 or 0 (got {index.dim()})")
    if source.dtype is not input.dtype:
        raise RuntimeError(f"{name}(): self ({input.dtype}) and source ({source.dtype}) must have the same scalar type")
    n = source.shape[d] if source.dim() else 1
    if index.numel() != n:
        raise RuntimeError(
            f"{name}(): Number of indices ({index.numel()}) should be equal to source.size(dim): ({n}), for dim: {d}"
        )
    mine, theirs = list(input.shape), list(source.shape)
    if mine:
        mine[d] = theirs[d] = 0
    if mine != theirs and source.dim():
        raise RuntimeError(
            f"{name}(): Source/destination tensor must have same slice shapes except at dimension {d}: destination "
            f"{list(input.shape)}, source {list(source.shape)}"
        )
    return d


@op(
    tensors="input index source alpha",
    checked=True,
    inplace=True,
    out=True,
    kernel=_index_add_kernel,
    grad={
        "input": lambda g: g,
        "source": lambda g, index, dim, alpha, source_shape: (g.index_select(dim, index.reshape(-1)) * alpha).reshape(source_shape),
    },
    samples=lambda make: [Sample(make(3, 2), 0, make.index(3, 2), make(2, 2)), Sample(make(3), 0, make.index(3, 4), make(4), alpha=2)],
)
def index_add(input, dim, index, source, *, alpha=1):
    """``input`` with ``alpha * source``'s slices added at the entries of ``index``."""
    d = _check_slices("index_add", input, dim, index, source)
    return tuple(input.shape), input.dtype, (input, index, source, alpha), {"dim": d}


def _index_copy_kernel(x, index, source, dim):
    out = np.array(x, order="C")
    flat = out.reshape(1) if not out.ndim else out
    np.moveaxis(flat, dim, 0)[_in_range(index.reshape(-1), flat.shape[dim], dim)] = np.moveaxis(
        source.reshape((1,)) if not source.ndim else source, dim, 0
    )
    return out


@op(
    tensors="input index source",
    checked=True,
    inplace=True,
    out=True,
    kernel=_index_copy_kernel,
    grad={
        "input": lambda g, dim, index: g.index_fill(dim, index.reshape(-1), 0),
        "source": lambda g, dim, index, source_shape: g.index_select(dim, index.reshape(-1)).reshape(source_shape),
    },
    samples=lambda make: [Sample(make(3, 2), 0, make.index(3, 2, unique=True), make(2, 2))],
)
def index_copy(input, dim, index, source):
    """``input`` with ``source``'s slices written at the entries of ``index``."""
    d = _check_slices("index_copy", input, dim, index, source)
    return tuple(input.shape), input.dtype, (input, index, source), {"dim": d}


def _index_fill_kernel(x, index, value, dim):
    out = np.array(x, order="C")
    flat = out.reshape(1) if not out.ndim else out
    n = flat.shape[dim]
    if index.size and (index.min() < -n or index.max() >= n):
        raise IndexError("index out of range in self")
    np.moveaxis(flat, dim, 0)[index.reshape(-1)] = value
    return out


@op(
    tensors="input index value",
    checked=True,
    inplace=True,
    kernel=_index_fill_kernel,
    grad={
        "input": lambda g, dim, index: g.index_fill(dim, index, 0),
        "value": lambda g, dim, index: g.index_select(dim, index.reshape(-1).unique()).sum(),
    },
    samples=lambda make: [Sample(make(3, 2), 0, make.index(3, 2), 1.5), Sample(make(2, 3), 1, make.index(3, 1), make())],
)
def index_fill(input, dim, index, value):
    """``input`` with ``value`` in the slices of ``dim`` at the entries of ``index``."""
    d = wrap_dim(dim, input.dim())
    if index.dtype is not dtypes.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if index.dim() > 1:
        raise IndexError("Index is supposed to be a vector")
    if isinstance(value, dispatch.Tensor):
        if value.dim():
            raise RuntimeError(
                f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.dim()} dimension(s)."
            )
        value = value.to(input.dtype)
    elif isinstance(value, complex) and not input.dtype.is_complex:
        raise RuntimeError("index_fill_(): Converting complex Scalar to non-complex type is not supported")
    elif input.dtype.kind == dtypes.INTEGRAL:
        value = int(value)
    return tuple(input.shape), input.dtype, (input, index, value), {"dim": d}


# --- element by element: gather and scatter ------------------------------------------------------------------


def _check_gather(name, input, dim, index, source=None):
    d = wrap_dim(dim, input.dim())
    if index.numel() == 0:
        return d
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}(): Expected dtype int64 for index")
    if (index.dim() or 1) != (input.dim() or 1):
        raise RuntimeError(
            f"Index tensor must have the same number of dimensions as {'self' if source is not None else 'input'} tensor: "
            f"{name}() got index of shape {list(index.shape)} for a tensor of shape {list(input.shape)}"
        )
    for k in range(input.dim()):
        if k != d and index.shape[k] > input.shape[k]:
            raise RuntimeError(
                f"Size does not match at dimension {k} expected index {list(index.shape)} to be no larger than self "
                f"{list(input.shape)} apart from dimension {d}"
            )
    if source is not None and any(i > s for i, s in zip(index.shape, source.shape, strict=False)):
        raise RuntimeError(
            f"Expected index {list(index.shape)} to be no larger than self {list(input.shape)} apart from dimension {d} and "
            f"to be no larger size than src {list(source.shape)}"
        )
    return d


def _places(shape, index, dim):
    """Index arrays that address ``index``'s entries along ``dim`` and their own position along the others."""
    _in_range(index, shape[dim], dim, RuntimeError)
    grid = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grid[dim] = index
    return tuple(grid)


def _gather_kernel(x, index, dim):
    if not index.size:
        return np.empty(index.shape, x.dtype)
    if not x.ndim:
        _in_range(index, 1, 0)
        return np.broadcast_to(x, index.shape)
    shaped = index.reshape(1) if not index.ndim else index
    return x[_places(x.shape, shaped, dim)].reshape(index.shape)


@op(
    tensors="input index",
    checked=True,
    out=True,
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
def gather(input, dim, index, *, sparse_grad=False):
    """``out[i][j] = input[index[i][j]][j]`` for ``dim=0``, and so on."""
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
    _UFUNCS[reduce].at(flat, places, src)
    if reduce == "mean":
        counts = np.full(flat.shape, int(include_self))
        np.add.at(counts, places, 1)
        counts[counts == 0] = 1
        flat[...] = flat // counts if out.dtype.kind in "iu" else flat / counts
    return out


_UFUNCS = {"sum": np.add, "mean": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def _lowest(dtype):
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype):
    return np.inf if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).max


def _scatter_inputs(name, input, dim, index, src):
    d = _check_gather(name, input, dim, index, src if isinstance(src, dispatch.Tensor) else None)
    if isinstance(src, dispatch.Tensor) and src.dtype is not input.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype: got {input.dtype} and {src.dtype}")
    return d


def _part(src, shape):
    """The corner of ``src`` that an index of ``shape`` takes from."""
    for d, n in enumerate(shape):
        if src.shape[d] != n:
            src = src.narrow(d, 0, n)
    return src


def _into(g, src_shape):
    """``g`` in the corner of zeros of ``src_shape``."""
    if tuple(g.shape) == tuple(src_shape):
        return g
    out = g.new_zeros(src_shape)
    _part(out, g.shape).copy_(g)
    return out


@op(
    name="_scatter",
    method=False,
    tensors="input index src",
    checked=True,
    kernel=_scatter_kernel,
    grad={
        "input": lambda g, dim, index: g.scatter(dim, index, 0),
        "src": lambda g, dim, index, src_shape: _into(g.gather(dim, index), src_shape),
    },
    backward_name="ScatterBackward0",
)
def _scatter(input, dim, index, src):
    """``input`` with ``src`` (a tensor or a number) written at the places that ``index`` names along ``dim``."""
    d = _scatter_inputs("scatter", input, dim, index, src)
    return tuple(input.shape), input.dtype, (input, index, src), {"dim": d, "reduce": None}


@composite(
    inplace=True,
    out=True,
    samples=lambda make: [
        Sample(make(3, 2), 0, make.index(3, 1, 2), make(1, 2)), Sample(make(3, 2), 0, make.index(3, 1, 2), 1.5),
    ],
)  # fmt: skip
def scatter(input, dim, index, src=None, *, value=None, reduce=None):
    """``input`` with ``src`` written at ``index``: ``out[index[i][j]][j] = src[i][j]`` for ``dim=0``, and so on."""
    src = value if src is None else src
    if reduce is None:
        if input.dtype.kind == dtypes.INTEGRAL and isinstance(src, float):
            src = int(src)
        return _scatter(input, dim, index, src)
    if reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    if not isinstance(src, dispatch.Tensor):
        src = input.new_full(index.shape, src)
    return scatter_reduce(input, dim, index, src, {"add": "sum", "multiply": "prod"}[reduce])


@op(
    tensors="input index src",
    checked=True,
    inplace=True,
    out=True,
    kernel=lambda x, index, src, dim: _scatter_kernel(x, index, src, dim, "sum"),
    grad={
        "input": lambda g: g,
        "src": lambda g, dim, index, src_shape: _into(g.gather(dim, index), src_shape),
    },
    samples=lambda make: [Sample(make(3, 2), 0, make.index(3, 4, 2), make(4, 2)), Sample(make(2, 3), 1, make.index(3, 2, 2), make(2, 3))],
)
def scatter_add(input, dim, index, src):
    """``input`` with ``src`` added at ``index``: ``out[index[i][j]][j] += src[i][j]`` for ``dim=0``, and so on."""
    d = _scatter_inputs("scatter_add", input, dim, index, src)
    return tuple(input.shape), input.dtype, (input, index, src), {"dim": d}


def _scatter_reduce_gradient(g, needs, input, index, src, out, dim, reduce, include_self):
    """PyTorch's rules; where several entries attain a maximum they share its gradient."""
    ones = g.new_ones(index.shape)
    if reduce in ("sum", "mean"):
        if reduce == "mean":
            counts = (g.new_ones(g.shape) if include_self else g.new_zeros(g.shape)).scatter_add(dim, index, ones)
            g = g / counts.clamp(min=1)
        own, theirs = g, g.gather(dim, index)
    elif reduce == "prod":
        part = _part(src, index.shape)
        zero_self = input == 0 if include_self else input != input
        zeros = zero_self.to(g.dtype).scatter_add(dim, index, (part == 0).to(g.dtype))
        product = (input.masked_fill(input == 0, 1) if include_self else input.new_ones(input.shape)).scatter_reduce(
            dim, index, part.masked_fill(part == 0, 1), "prod"
        )
        alone = zeros == 0
        own = (g * out / input.masked_fill(input == 0, 1)).where(alone, g * product * ((zeros == 1) & zero_self).to(g.dtype))
        at = zeros.gather(dim, index)
        theirs = (g * out).gather(dim, index) / part.masked_fill(part == 0, 1)
        theirs = theirs.where(at == 0, (g * product).gather(dim, index) * ((at == 1) & (part == 0)).to(g.dtype))
    else:
        part = _part(src, index.shape)
        mine = (input == out).to(g.dtype)
        hits = (part == out.gather(dim, index)).to(g.dtype)
        counts = (mine if include_self else g.new_zeros(g.shape)).scatter_add(dim, index, hits)
        share = g / counts.clamp(min=1)
        own, theirs = share * mine, share.gather(dim, index) * hits
    if not include_self:
        own = own.scatter(dim, index, 0)
    return own, None, _into(theirs, src.shape) if needs[2] else None


@op(
    tensors="input index src",
    checked=True,
    inplace=True,
    out=True,
    kernel=_scatter_kernel,
    grad={"*": _scatter_reduce_gradient},
    samples=lambda make: [
        Sample(make(3, 2), 0, make.index(3, 4, 2), make(4, 2), reduce, include_self=include)
        for reduce in ("sum", "prod", "mean", "amax", "amin")
        for include in (True, False)
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "reduce argument must be", make(3), 0, make.index(3, 2), make(2), "max")],
)
def scatter_reduce(input, dim, index, src, reduce, *, include_self=True):
    """``input`` with ``src``'s entries for each place reduced by sum, prod, mean, amax or amin."""
    d = _scatter_inputs("scatter_reduce", input, dim, index, src)
    if reduce not in _UFUNCS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}.")
    attrs = {"dim": d, "reduce": reduce, "include_self": include_self}
    return tuple(input.shape), input.dtype, (input, index, src), attrs


@composite(out=True, samples=lambda make: [Sample(make(2, 3), make.index(3, 2, 3), 1), Sample(make(2, 3), make.index(6, 4))])
def take_along_dim(input, indices, dim=None):
    """The elements at ``indices`` along ``dim`` (as ``numpy.take_along_axis``, with broadcasting)."""
    if dim is None:
        return input.reshape(-1).gather(0, indices.reshape(-1))
    d = wrap_dim(dim, input.dim())
    if input.dim() != indices.dim():
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.dim()} dimensions for input, and {indices.dim()} dimensions for indices"
        )
    others = list(broadcast_shapes([n if k != d else 1 for k, n in enumerate(input.shape)],
                                   [n if k != d else 1 for k, n in enumerate(indices.shape)]))  # fmt: skip
    mine, theirs = others[:], others[:]
    mine[d], theirs[d] = input.shape[d], indices.shape[d]
    indices = indices.where(indices >= 0, indices + input.shape[d])
    return input.expand(mine).gather(d, indices.expand(theirs))


_elements_at = index  # in functions whose argument is called ``index``


@composite(out=True, samples=lambda make: [Sample(make(2, 3), make.index(6, 2, 2))])
def take(input, index):
    """The elements at ``index`` of ``input`` seen as one row, in ``index``'s shape."""
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype}")
    return _elements_at(input.reshape(-1), (index,))



@composite(name="put", inplace=True, samples=lambda make: [Sample(make(2, 3), make.index(6, 2, unique=True), make(2))])
def put(input, index, source, accumulate=False):
    """``input`` with ``source`` written (or added) at ``index`` of ``input`` seen as one row."""
    row = index_put(input.reshape(-1), (index.reshape(-1),), source.reshape(-1), bool(accumulate))
    return row.reshape(input.shape)


# --- masks ---------------------------------------------------------------------------------------------------


@composite(out=True, samples=lambda make: [Sample(make(2, 3), make.mask(2, 3)), Sample(make(2, 3), make.mask(3))])
def masked_select(input, mask):
    """The elements where ``mask`` is true, as one row."""
    if mask.dtype is not dtypes.bool:
        raise RuntimeError(f"masked_select: expected BoolTensor for mask, got {mask.dtype}")
    shape = broadcast_shapes(input.shape, mask.shape)
    input, mask = input.expand(shape), mask.expand(shape)
    if not shape:
        return input.reshape(1)[mask.reshape(1)]
    return index(input, expand_masks(input, (mask,)))


def _masked_scatter_kernel(x, mask, source):
    out = np.array(np.broadcast_to(x, np.broadcast_shapes(x.shape, mask.shape)), order="C")
    mask = np.broadcast_to(mask, out.shape)
    n = int(mask.sum())
    if source.size < n:
        raise RuntimeError(f"masked_scatter: expected self and source to have enough elements: {n} are masked, source has {source.size}")
    out[mask] = source.reshape(-1)[:n]
    return out


def _masked_scatter_source_gradient(g, mask, source_shape):
    picked = g.masked_select(mask.expand(g.shape))
    n = source_shape.numel()
    row = g.new_zeros(n)
    row[: picked.shape[0]] = picked
    return row.reshape(source_shape)


@op(
    tensors="input mask source",
    inplace=True,
    checked=True,
    kernel=_masked_scatter_kernel,
    grad={"input": lambda g, mask: g.masked_fill(mask, 0), "source": _masked_scatter_source_gradient},
    samples=lambda make: [Sample(make(2, 3), make.mask(2, 3), make(6))],
)
def masked_scatter(input, mask, source):
    """``input`` with ``source``'s elements, in order, where ``mask`` is true."""
    if mask.dtype is not dtypes.bool:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype}")
    if source.dtype is not input.dtype:
        raise RuntimeError(f"masked_scatter: expected self and source to have same dtypes but got {input.dtype} and {source.dtype}")
    return tuple(broadcast_shapes(input.shape, mask.shape)), input.dtype, (input, mask, source), {}


@op(
    name="_nonzero",
    method=False,
    eager=True,
    kernel=lambda x: np.argwhere(x) if x.ndim else np.zeros((int(bool(x)), 0), np.int64),
)
def _nonzero(input):
    """The indices of all elements that are not zero, as rows."""
    return None, dtypes.int64, (input,), {}


@composite(out=True, samples=lambda make: [Sample(make(2, 3)), Sample(make.mask(3), as_tuple=True)])
def nonzero(input, *, as_tuple=False):
    """The indices of all elements that are not zero: as rows of one tensor, or one tensor a dim."""
    rows = _nonzero(input)
    if not as_tuple:
        return rows
    return tuple(rows.unbind(1)) if input.dim() else tuple(_nonzero(input.reshape(1)).unbind(1))


@composite(samples=lambda make: [Sample(make(2, 3))])
def argwhere(input):
    """:func:`nonzero` as rows."""
    return _nonzero(input)
