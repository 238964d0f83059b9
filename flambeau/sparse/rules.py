"""What ops do with sparse tensors: each by dense ops of the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np

import flambeau
from flambeau.core import dtypes
from flambeau.core.memory_format import sparse_coo, sparse_csc, sparse_csr, strided
from flambeau.core.size import wrap_dim
from flambeau.sparse.tensor import SparseTensor, _make, added_rows, compressed, coo, from_array, unflat
from flambeau.tensor.interception import rules_in
from flambeau.tensor.tensor import Tensor

__all__ = ["apply", "getitem", "log_softmax", "softmax", "total"]

RULES: dict[str, Callable] = {}
IN_PLACE: dict[str, Callable] = {}


def apply(function: Any, args: tuple, kwargs: dict) -> Any:
    """The result of an op one of whose arguments is sparse."""
    op = function.op
    in_place = function.__name__.endswith("_") and function is not op.function
    rule = (IN_PLACE if in_place else RULES).get(op.name)
    if rule is None:
        name = function.__name__
        kind = next((a._kind for a in (*args, *kwargs.values()) if isinstance(a, SparseTensor)), sparse_coo)
        backend = "SparseCPU" if kind is sparse_coo else "SparseCsrCPU"
        raise NotImplementedError(
            f"Could not run 'aten::{name}' with arguments from the '{backend}' backend: flambeau has no rule for {kind}; "
            "use .to_dense(), or .values() of a coalesced tensor"
        )
    out = kwargs.pop("out", None) if "out" in kwargs else None
    result = rule(*args, **kwargs)
    if out is None:
        return result
    return out._take(result) if isinstance(out, SparseTensor) else out.copy_(result)


rule = rules_in(RULES)


def is_sparse(x: Any) -> TypeGuard[SparseTensor]:
    return isinstance(x, SparseTensor)


def _coalesced(x: SparseTensor) -> SparseTensor:
    return x.coalesce() if x._kind is sparse_coo else x


# --- element by element ---------------------------------------------------------------------------------------


def _on_values(name: str, linear: bool) -> None:
    """A function that is zero at zero: of the values. Of values at one place that are added up, unless it is linear, only then."""
    from flambeau.ops.record import registry

    if name not in registry:
        return
    function = registry[name].function

    def rule(x: SparseTensor, *args: Any, **kwargs: Any) -> Tensor:
        x = x if linear else _coalesced(x)
        values = function(x._v, *args, **kwargs)
        return _make(x._kind, x._parts, values, x._shape, x._is_coalesced)

    RULES[name] = rule
    IN_PLACE[name] = lambda x, *args, **kwargs: x._take(rule(x, *args, **kwargs))


for _name in ("neg", "clone", "contiguous", "_copy", "to", "Tensor.to", "float", "double", "half", "long", "int", "bool", "bfloat16", "conj", "Tensor.float", "Tensor.double", "Tensor.half", "Tensor.long", "Tensor.int", "Tensor.bool", "Tensor.type_as", "positive", "real", "alias"):  # fmt: skip
    _on_values(_name, linear=True)
for _name in (
    "abs", "sqrt", "sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "expm1", "log1p", "sgn", "sign", "floor", "ceil", "trunc", "round",
    "relu", "nn.functional.relu", "deg2rad", "rad2deg", "isnan", "isinf", "isposinf", "isneginf", "signbit", "square", "erf", "erfinv", "frac", "nan_to_num", "angle",
    "nn.functional.leaky_relu", "logical_not_of_values",
):  # fmt: skip
    _on_values(_name, linear=False)


@rule("detach")
def _detach(x: SparseTensor) -> Tensor:
    return x.detach()


@rule("pow")
def _pow(x: Any, exponent: Any) -> Tensor:
    if is_sparse(exponent) or isinstance(exponent, Tensor) and exponent.dim():
        raise NotImplementedError("pow of sparse tensors takes a number as exponent")
    if not float(exponent) > 0:
        raise RuntimeError("pow of a sparse tensor takes an exponent greater than 0: the others are not zero at zero")
    x = _coalesced(x)
    return x._with(x._v**exponent)  # type: ignore[attr-defined]


@rule("zeros_like", "empty_like")
def _zeros_like(x: SparseTensor, *, dtype: Any = None, layout: Any = None, **settings: Any) -> Tensor:
    if layout is strided:
        return flambeau.zeros(x.shape, dtype=dtype or x.dtype)
    if x._kind is not sparse_coo:
        begins = flambeau.zeros_like(x._parts[0])
        return compressed(x._kind, begins, x._parts[1][:0], x._v[:0].to(dtype or x.dtype), x.shape)
    return coo(x._parts[0][:, :0], flambeau.zeros((0, *x._v.shape[1:]), dtype=dtype or x.dtype), x.shape, True)


def _zero_(x: SparseTensor) -> Tensor:
    return x._take(_zeros_like(x))  # type: ignore[arg-type]


IN_PLACE["zero"] = IN_PLACE["Tensor.zero"] = _zero_


def _is_number(x: Any) -> bool:
    return not isinstance(x, Tensor) or not is_sparse(x) and not x.dim()


def _multiplied(name: str) -> Callable:
    function = getattr(flambeau, name)

    def rule(a: Any, b: Any, **kwargs: Any) -> Tensor:
        if is_sparse(a) and _is_number(b):
            return a._with(function(a._v, b, **kwargs))  # type: ignore[no-any-return]
        if name == "mul" and _is_number(a):
            return b._with(function(a, b._v))  # type: ignore[no-any-return]
        if name != "mul":
            if is_sparse(a) and not is_sparse(b):
                x = _coalesced(a)
                return x._with(function(x._v, _at(b, x), **kwargs))
            raise RuntimeError(
                f"Sparse division requires a scalar or zero-dim dense tensor divisor (got shape {list(b.shape)} for divisor)"
            )
        if is_sparse(a) and is_sparse(b):
            return _product(a, b)
        x, dense = (a, b) if is_sparse(a) else (b, a)
        return x._with(x._v * _at(dense, x))  # type: ignore[no-any-return]

    return rule


for _name in ("mul", "multiply"):
    RULES[_name] = _multiplied("mul")
for _name in ("div", "true_divide", "divide"):
    RULES[_name] = _multiplied("div")
RULES["floor_divide"] = _multiplied("floor_divide")
for _name in ("mul", "div", "true_divide", "divide", "multiply", "floor_divide"):
    IN_PLACE[_name] = lambda x, y, _of=RULES[_name], **k: x._take(_of(x, y, **k))


def _at(dense: Tensor, x: SparseTensor) -> Tensor:
    """The elements of a dense tensor, which may be broadcast, at the places of a sparse one."""
    dense = dense.expand(x.shape)
    c = x.to_coo()
    sizes = c.shape[: c.sparse_dim()]
    rows = dense.reshape(int(np.prod(sizes)) if sizes else 1, *c.shape[c.sparse_dim() :])
    return rows[from_array(c._flat())]


def _product(a: SparseTensor, b: SparseTensor) -> Tensor:
    """Element by element: at the places that both have."""
    if a.shape != b.shape:
        raise RuntimeError(
            f"mul: expected 'self' and 'other' to have the same size, but self has size {list(a.shape)} while other has size {list(b.shape)}"
        )
    kind = a._kind
    x, y = a.to_coo().coalesce(), b.to_coo().coalesce()
    places, i, j = np.intersect1d(x._flat(), y._flat(), assume_unique=True, return_indices=True)
    made = coo(
        from_array(unflat(places, tuple(x.shape[: x.sparse_dim()]))), x._v[from_array(i)] * y._v[from_array(j)], x.shape, True
    )
    return made if kind is sparse_coo else made.to_compressed(kind)


@rule("add")
def _add(a: Any, b: Any, *, alpha: Any = 1) -> Tensor:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        raise RuntimeError("add(sparse, dense) is not supported: a number is added to a dense tensor. Use .to_dense() first")
    if is_sparse(a) and is_sparse(b):
        return _sum_of_two(a, b, alpha)
    if is_sparse(a):
        if a._kind is not sparse_coo:
            return a.to_dense() + b * alpha
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    return a + b.to_dense() * alpha if alpha != 1 else a + b.to_dense()


def _sum_of_two(a: SparseTensor, b: SparseTensor, alpha: Any) -> Tensor:
    if a.shape != b.shape:
        raise RuntimeError(f"add: expected sizes of 'self' and 'other' to match, but {list(a.shape)} != {list(b.shape)}")
    kind, both = a._kind, a._is_coalesced and b._is_coalesced
    packed = a._v.is_contiguous() and b._v.is_contiguous()  # PyTorch joins the others, without a look at their places
    if (
        packed
        and kind is b._kind
        and a._nnz() == b._nnz()
        and all(p is q or p.equal(q) for p, q in zip(a._parts, b._parts, strict=True))
    ):
        return a._with(a._v + b._v * alpha if alpha != 1 else a._v + b._v)
    x, y = a.to_coo(), b.to_coo()
    if x.sparse_dim() != y.sparse_dim():
        raise RuntimeError(f"add: expected sparse dims to match, but {x.sparse_dim()} != {y.sparse_dim()}")
    if not x._nnz() and not y._nnz():
        return a
    right = y._v if alpha == 1 else y._v * alpha
    dtype = flambeau.result_type(x._v, right)
    values = flambeau.cat([x._v.to(dtype), right.to(dtype)])
    if both or kind is not sparse_coo:
        made = coo(flambeau.cat([x._parts[0], y._parts[0]], 1), values, x.shape).coalesce()
        return made if kind is sparse_coo else made.to_compressed(kind)
    if not packed or x._is_sorted() and y._is_sorted():
        made = coo(flambeau.cat([x._parts[0], y._parts[0]], 1), values, x.shape)
        return made.coalesce()._coalesced_(False) if packed else made
    rows, places = _merged(x._flat(), y._flat())
    return coo(
        from_array(unflat(places, tuple(x.shape[: x.sparse_dim()]))), added_rows(values, from_array(rows), len(places)), x.shape
    )


def _merged(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two lists of places, in no order, walked through at once as if they were sorted: to which of the result's places each of
    both goes, and these.

    Where both lists stand at the same place, it is the result's once; so the sum of a tensor that is not coalesced with itself has
    as many elements as it. Source: PyTorch adds sparse tensors so.
    """
    rows: tuple[list[int], list[int]] = ([], [])
    places: list[int] = []
    a, b, i, j = x.tolist(), y.tolist(), 0, 0
    while i < len(a) or j < len(b):
        first = j == len(b) or i < len(a) and a[i] <= b[j]
        second = i == len(a) or j < len(b) and b[j] <= a[i]
        places.append(a[i] if first else b[j])
        if first:
            rows[0].append(len(places) - 1)
            i += 1
        if second:
            rows[1].append(len(places) - 1)
            j += 1
    return np.array(rows[0] + rows[1], np.int64), np.array(places, np.int64)


@rule("sub", "subtract")
def _sub(a: Any, b: Any, *, alpha: Any = 1) -> Tensor:
    return _add(a, b, alpha=-alpha)  # type: ignore[no-any-return]


@rule("rsub")
def _rsub(a: Any, b: Any, *, alpha: Any = 1) -> Tensor:
    return _sub(b, a, alpha=alpha)  # type: ignore[no-any-return]


def _add_(x: Any, y: Any, *, alpha: Any = 1) -> Tensor:
    if is_sparse(x):
        return x._take(_add(x, y, alpha=alpha))  # type: ignore[no-any-return]
    c = y.to_coo()
    sizes = c.shape[: c.sparse_dim()]
    if tuple(c.shape) != tuple(x.shape) or not x.is_contiguous():
        return x.add_(c.to_dense(), alpha=alpha)
    rows = x.view(int(np.prod(sizes)) if sizes else 1, *c.shape[c.sparse_dim() :])
    rows.index_add_(0, from_array(c._flat()), c._v.to(x.dtype), alpha=alpha)
    return x


IN_PLACE["add"] = _add_
IN_PLACE["sub"] = IN_PLACE["subtract"] = lambda x, y, *, alpha=1: _add_(x, y, alpha=-alpha)


def _copy_(x: Any, y: Any, non_blocking: bool = False) -> Tensor:
    if is_sparse(x) is not is_sparse(y):
        raise RuntimeError(
            f"copy_() between dense and sparse Tensors is not implemented! Found self type = {x.type()} and src type = {y.type()}"
        )
    return x._take(y if y.dtype is x.dtype else y._with(y._v.to(x.dtype)))  # type: ignore[no-any-return]


IN_PLACE["Tensor.copy_"] = _copy_


@rule("eq", "ne", "lt", "gt", "le", "ge")
def _compare(*args: Any) -> Tensor:
    raise NotImplementedError("comparisons of sparse tensors: use .to_dense()")


@rule("equal")
def _equal(a: Any, b: Any) -> bool:
    if not is_sparse(a) or not is_sparse(b) or a._kind is not b._kind or a.shape != b.shape:
        return False
    x, y = a.to_coo().coalesce(), b.to_coo().coalesce()
    return flambeau.equal(x._parts[0], y._parts[0]) and flambeau.equal(x._v, y._v)


@rule("allclose")
def _allclose(a: Any, b: Any, *args: Any, **kwargs: Any) -> bool:
    x, y = [t.to_dense() if is_sparse(t) else t for t in (a, b)]
    return flambeau.allclose(x, y, *args, **kwargs)


# --- sums -----------------------------------------------------------------------------------------------------


@rule("sum")
def total(x: SparseTensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum of all elements, or over some dims: sparse where sparse dims are left."""
    if dim is None or dim == () or dim == []:
        return x._v.sum(dtype=dtype)
    dims = sorted({wrap_dim(d, x.dim()) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))})
    kind, c = x._kind, x.to_coo()
    n = c.sparse_dim()
    values = c._v if dtype is None else c._v.to(dtype)
    dense = [d - n + 1 for d in dims if d >= n]
    if dense:
        values = values.sum(dense, keepdim)
    kept = [d for d in range(n) if d not in dims]
    rest = list(values.shape[1:])
    if not kept:
        out = values.sum(0)
        return out.reshape([1] * n + rest) if keepdim else out
    parts = c._parts[0][flambeau.tensor(kept)]
    sizes = [c.shape[d] for d in kept]
    if keepdim:
        zeros = flambeau.zeros_like(c._parts[0][:1])
        parts = flambeau.cat([c._parts[0][d : d + 1] if d in kept else zeros for d in range(n)])
        sizes = [c.shape[d] if d in kept else 1 for d in range(n)]
    made = coo(parts, values, (*sizes, *rest), c._is_coalesced and len(kept) == n).coalesce()
    return made if kind is sparse_coo or made.sparse_dim() != 2 else made.to_compressed(kind)


@rule("mean")
def _mean(x: SparseTensor, *, dtype: Any = None) -> Tensor:
    return x._v.sum(dtype=dtype) / x.numel()


@rule("norm", "linalg.norm", "linalg.vector_norm")
def _norm(x: SparseTensor, p: Any = "fro", *args: Any, **kwargs: Any) -> Tensor:
    return flambeau.linalg.vector_norm(_coalesced(x)._v, 2 if p in ("fro", None) else p)


@rule("any")
def _any(x: SparseTensor) -> Tensor:
    return _coalesced(x)._v.any()


@rule("count_nonzero")
def _count(x: SparseTensor) -> Tensor:
    return flambeau.count_nonzero(_coalesced(x)._v)


@rule("amax")
def _amax(x: SparseTensor, *args: Any, **kwargs: Any) -> Tensor:
    return x.to_dense().amax(*args, **kwargs)


# --- shapes ---------------------------------------------------------------------------------------------------


@rule("transpose", "swapaxes", "swapdims")
def _transpose(x: SparseTensor, dim0: int, dim1: int) -> Tensor:
    order = list(range(x.dim()))
    a, b = wrap_dim(dim0, x.dim()), wrap_dim(dim1, x.dim())
    order[a], order[b] = b, a
    return _permute(x, order)  # type: ignore[no-any-return]


@rule("t")
def _t(x: SparseTensor) -> Tensor:
    if x.dim() > 2:
        raise RuntimeError(
            f"t() expects a tensor with <= 2 sparse and 0 dense dimensions, but got {x.sparse_dim()} sparse and {x.dense_dim()} dense dimensions"
        )
    return x if x.dim() < 2 else _permute(x, [1, 0])  # type: ignore[no-any-return]


@rule("permute")
def _permute(x: SparseTensor, *dims: Any) -> Tensor:
    order = [wrap_dim(d, x.dim()) for d in (dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims)]
    if order == list(range(x.dim())):
        return x
    shape = [x.shape[d] for d in order]
    if x._kind is not sparse_coo:
        return _make(sparse_csc if x._kind is sparse_csr else sparse_csr, x._parts, x._v, shape, True)
    n = x.sparse_dim()
    if any(d >= n for d in order[:n]):
        raise RuntimeError("transpose of a sparse tensor: a sparse and a dense dim cannot be exchanged")
    values = x._v.permute(0, *[d - n + 1 for d in order[n:]]) if order[n:] != list(range(n, x.dim())) else x._v
    return _make(sparse_coo, (x._parts[0][flambeau.tensor(order[:n])],), values, shape, False)


@rule("select", "Tensor.select")
def select(x: SparseTensor, dim: int, index: int) -> Tensor:
    dim = wrap_dim(dim, x.dim())
    index = int(index)
    if not -x.shape[dim] <= index < x.shape[dim]:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(x.shape)} at dimension {dim}")
    index %= x.shape[dim]
    c = x.to_coo()
    n = c.sparse_dim()
    shape = [s for d, s in enumerate(c.shape) if d != dim]
    if dim >= n:
        return coo(c._parts[0], c._v.select(dim - n + 1, index), shape, c._is_coalesced)
    there = from_array(np.flatnonzero(c._parts[0]._array()[dim] == index))
    values = c._v[there]
    if n == 1:
        return values.sum(0)
    rows = flambeau.tensor([d for d in range(n) if d != dim])
    return coo(c._parts[0][rows][:, there], values, shape, c._is_coalesced)


@rule("unbind", "Tensor.unbind")
def _unbind(x: SparseTensor, dim: int = 0) -> tuple[Tensor, ...]:
    return tuple(select(x, dim, i) for i in range(x.shape[dim]))


@rule("expand", "Tensor.expand", "expand_as", "repeat", "Tensor.repeat", "tile")
def _expand(x: SparseTensor, *args: Any, **kwargs: Any) -> Tensor:
    raise RuntimeError("expand is unsupported for Sparse tensors")


@rule("index_select", "Tensor.index_select")
def _index_select(x: SparseTensor, dim: int, index: Tensor) -> Tensor:
    dim = wrap_dim(dim, x.dim())
    kind, c = x._kind, x.to_coo()
    n = c.sparse_dim()
    shape = list(c.shape)
    shape[dim] = index.numel()
    if dim >= n:
        return coo(c._parts[0], c._v.index_select(dim - n + 1, index), shape, c._is_coalesced)
    wanted, have = index._array().reshape(-1), c._parts[0]._array()[dim]
    order = np.argsort(have, kind="stable")
    low, high = np.searchsorted(have[order], wanted, "left"), np.searchsorted(have[order], wanted, "right")
    counts = high - low
    new = np.repeat(np.arange(len(wanted)), counts)
    old = order[np.concatenate([np.arange(a, b) for a, b in zip(low, high)])] if counts.sum() else np.zeros(0, np.int64)
    places = c._parts[0]._array()[:, old].copy()
    places[dim] = new
    made = coo(from_array(places), c._v[from_array(old)], shape).coalesce()
    return made if kind is sparse_coo else made.to_compressed(kind)


@rule("narrow", "Tensor.narrow", "narrow_copy")
def _narrow(x: SparseTensor, dim: int, start: int, length: int) -> Tensor:
    return _index_select(x, dim, flambeau.arange(start, start + length))  # type: ignore[no-any-return]


@rule("unsqueeze")
def _unsqueeze(x: SparseTensor, dim: int) -> Tensor:
    dim = wrap_dim(dim, x.dim() + 1)
    c = x.to_coo()
    shape = [*c.shape[:dim], 1, *c.shape[dim:]]
    if dim > c.sparse_dim():
        return coo(c._parts[0], c._v.unsqueeze(dim - c.sparse_dim() + 1), shape, c._is_coalesced)
    zeros = flambeau.zeros(1, c._nnz(), dtype=dtypes.int64)
    return coo(flambeau.cat([c._parts[0][:dim], zeros, c._parts[0][dim:]]), c._v, shape, c._is_coalesced)


@rule("squeeze")
def _squeeze(x: SparseTensor, dim: Any = None) -> Tensor:
    c = x.to_coo()
    dims = (
        [d for d in range(c.dim()) if c.shape[d] == 1] if dim is None else [d for d in [wrap_dim(dim, c.dim())] if c.shape[d] == 1]
    )
    for d in reversed(dims):
        c = select(c, d, 0)  # type: ignore[assignment]
    return c


@rule("reshape", "Tensor.reshape", "view", "Tensor.view", "flatten")
def _reshape(*args: Any, **kwargs: Any) -> Tensor:
    raise RuntimeError("reshape is not implemented for sparse tensors: use .to_dense() first")


@rule("cat", "concat", "concatenate")
def _cat(tensors: Any, dim: int = 0, **kwargs: Any) -> Tensor:
    if not all(map(is_sparse, tensors)):
        raise RuntimeError("Concatenating sparse tensors, but a dense tensor was found among them")
    first = tensors[0].to_coo()
    dim = wrap_dim(dim, first.dim())
    n = first.sparse_dim()
    shape = list(first.shape)
    shape[dim] = sum(t.shape[dim] for t in tensors)
    parts, values, before = [], [], 0
    dtype = first.dtype
    for t in tensors[1:]:
        dtype = flambeau.promote_types(dtype, t.dtype)
    for t in tensors:
        c = t.to_coo()
        if c.sparse_dim() != n or any(a != b for d, (a, b) in enumerate(zip(c.shape, first.shape)) if d != dim):
            raise RuntimeError(
                f"All tensors must have the same shape: {list(first.shape)} (except in the concatenating dimension), but found shape: {list(c.shape)}"
            )
        places, v = c._parts[0], c._v.to(dtype)
        if dim < n:
            shift = np.zeros((n, 1), np.int64)
            shift[dim] = before
            places = places + from_array(shift)
        else:
            pad = [v.new_zeros((v.shape[0], *[before if d + n == dim else s for d, s in enumerate(v.shape[1:])]))]
            after = shape[dim] - before - c.shape[dim]
            pad += [v, v.new_zeros((v.shape[0], *[after if d + n == dim else s for d, s in enumerate(v.shape[1:])]))]
            v = flambeau.cat(pad, dim - n + 1)
        parts.append(places)
        values.append(v)
        before += c.shape[dim]
    return coo(flambeau.cat(parts, 1), flambeau.cat(values), shape)


@rule("stack")
def _stack(tensors: Any, dim: int = 0, **kwargs: Any) -> Tensor:
    return _cat([_unsqueeze(t, dim) for t in tensors], dim)  # type: ignore[no-any-return]


def getitem(x: SparseTensor, key: Any) -> Tensor:
    """``x[key]``: numbers, slices, tensors of integers and ``None``."""
    out: Any = x
    dim = 0
    keys = key if isinstance(key, tuple) else (key,)
    if ... in [k for k in keys if k is ...]:
        at = next(i for i, k in enumerate(keys) if k is ...)
        missing = x.dim() - sum(k is not None and k is not ... for k in keys)
        keys = (*keys[:at], *[slice(None)] * missing, *keys[at + 1 :])
    for k in keys:
        if k is None:
            out = _unsqueeze(out, dim)
            dim += 1
        elif isinstance(k, slice):
            start, stop, step = k.indices(out.shape[dim])
            if (start, stop, step) != (0, out.shape[dim], 1):
                out = (
                    _index_select(out, dim, flambeau.arange(start, max(start, stop), step))
                    if is_sparse(out)
                    else out[(slice(None),) * dim + (k,)]
                )
            dim += 1
        elif isinstance(k, Tensor) and k.dim() == 1:
            picked = k.nonzero().reshape(-1) if k.dtype is dtypes.bool else k
            out = _index_select(out, dim, picked) if is_sparse(out) else out.index_select(dim, picked)
            dim += 1
        elif hasattr(k, "__index__"):
            out = select(out, dim, k.__index__()) if is_sparse(out) else out.select(dim, k.__index__())
        else:
            raise NotImplementedError(f"indexing a sparse tensor with a {type(k).__name__}")
    return out  # type: ignore[no-any-return]


# --- softmax --------------------------------------------------------------------------------------------------


def _softmax(x: SparseTensor, dim: int, dtype: Any, log: bool) -> Tensor:
    """Over the elements that are there: what is missing counts as minus infinity."""
    dim = wrap_dim(dim, x.dim())
    c = x.to_coo().coalesce()
    n = c.sparse_dim()
    values = c._v if dtype is None else c._v.to(dtype)
    if dim >= n:
        picked = values.log_softmax(dim - n + 1) if log else values.softmax(dim - n + 1)
        return coo(c._parts[0], picked, c.shape, True)
    places = c._parts[0]._array()
    flat = np.zeros(places.shape[1], np.int64)
    for d in range(n):
        if d != dim:
            flat = flat * c.shape[d] + places[d]
    _, groups = np.unique(flat, return_inverse=True)
    groups = groups.reshape(-1)
    count = int(groups.max()) + 1 if len(groups) else 0
    where = from_array(groups)
    known = values.detach()._array()
    largest = np.full((count, *known.shape[1:]), -np.inf, known.dtype)
    np.maximum.at(largest, groups, known)
    shifted = values - flambeau.from_numpy(largest)[where]
    powers = shifted.exp()
    sums = added_rows(powers, where, count)[where]
    return coo(c._parts[0], shifted - sums.log() if log else powers / sums, c.shape, True)


@rule("softmax", "nn.functional.softmax")
def softmax(x: SparseTensor, dim: int, dtype: Any = None) -> Tensor:
    """Softmax over the elements that are there."""
    return _softmax(x, dim, dtype, False)


@rule("log_softmax", "nn.functional.log_softmax")
def log_softmax(x: SparseTensor, dim: int, dtype: Any = None) -> Tensor:
    """Its logarithm."""
    return _softmax(x, dim, dtype, True)
