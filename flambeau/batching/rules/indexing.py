"""Lookups and writes by index: an index that each sample has for itself is one beside the sample's number."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.batching.batched import Batched, Level, innermost, over, under
from flambeau.batching.rules.families import COMPOSED, Call, call_each, moved, rule, values_of
from flambeau.core.size import broadcast_shapes
from flambeau.tensor.tensor import Tensor


def _samples(level: Level, n: int) -> Tensor:
    """The numbers of the samples, to broadcast against indices with ``n`` dims each."""
    return ops.arange(level.size).view(level.size, *(1,) * n)


def _places(indices: tuple) -> tuple[list[int], int, bool]:
    """The indexed dims, how many dims the indices broadcast to, and whether these come in the place of the first indexed dim."""
    at = [d for d, i in enumerate(indices) if i is not None]
    return at, max([indices[d].dim() for d in at]), at[-1] - at[0] == len(at) - 1


@rule("_index")
def index(call: Call) -> Any:
    level, x, indices = call.level, call.input, call.indices
    at, n, together = _places(indices)
    each = [None if i is None else level.aligned(i, n) for i in indices]
    if level.has(x):
        if not any(map(level.has, indices)):
            found = call(input=x._value, indices=(None, *each))
            return level.wrap(found if together else found.movedim(n, 0))
        found = call(input=x._value, indices=(_samples(level, n), *each))
        first = at[0] if together else 0
        return level.wrap(found if not first else found.movedim(tuple(range(1, n + 1)), tuple(range(first + 1, first + n + 1))))
    found = call(indices=tuple(each))
    return level.wrap(found.movedim(at[0], 0) if together and at[0] else found)


@rule("_index_put")
def index_put(call: Call) -> Any:
    level, x, indices, values = call.level, call.input, call.indices, call.values
    at, n, together = _places(indices)
    each = [None if i is None else level.aligned(i, n) for i in indices]
    block = broadcast_shapes(*[i._shape for i in indices if i is not None])
    rest = [m for d, m in enumerate(x._shape) if d >= len(indices) or indices[d] is None]
    first = at[0] if together else 0
    target = (*rest[:first], *block, *rest[first:])
    if values.dim() > len(target):
        values.expand(target)  # raises
    every = level.aligned(values, len(target)).expand(level.size, *target)
    if first:
        every = every.movedim(tuple(range(first + 1, first + n + 1)), tuple(range(1, n + 1)))
    return level.wrap(call(input=level.expanded(x), indices=(_samples(level, n), *each), values=every))


def _spread(level: Level, index: Batched, dim: int, shape: tuple) -> Tensor:
    """Each sample's index along ``dim`` (of all samples), for all elements of a ``shape`` of all samples."""
    n = len(shape)
    return index._value.reshape(level.size, *[-1 if d == dim else 1 for d in range(1, n)]).expand(shape)


@rule("index_select")
def index_select(call: Call) -> Any:
    level, x, index = call.level, call.input, call.index
    if not level.has(index):
        return along_dim(call)
    if not x.dim():
        return call_each(level, call.function, (x, call.dim, index), {})
    value, dim = level.expanded(x), moved(call.dim, x.dim())
    shape = (*value.shape[:dim], index.numel(), *value.shape[dim + 1 :])
    return level.wrap(ops.gather(value, dim, _spread(level, index, dim, shape).long()))


def along_dim(call: Call) -> Any:
    """One index for all samples."""
    level = call.level
    if not call.input.dim():
        return call_each(level, call.function, (), dict(call.arguments))
    found = call.expanded("input", "source")
    return level.wrap(call(**found, dim=moved(call.dim, call.input.dim())))


@rule("index_add", "index_copy")
def index_write(call: Call) -> Any:
    level, x, index, source = call.level, call.input, call.index, call.source
    if not level.has(index):
        return along_dim(call)
    if not x.dim() or not source.dim():
        return call_each(level, call.function, (), dict(call.arguments))
    dim, values = moved(call.dim, x.dim()), level.expanded(source)
    places = _spread(level, index, dim, values.shape).long()
    if call.function.op.name == "index_copy":
        return level.wrap(ops.scatter(level.expanded(x), dim, places, values))
    values = values if call.alpha == 1 else values * call.alpha
    return level.wrap(ops.scatter_add(level.expanded(x), dim, places, values))


@rule("index_fill")
def index_fill(call: Call) -> Any:
    level, x, index, value = call.level, call.input, call.index, call.value
    if not x.dim() or level.has(value):
        return call_each(level, call.function, (), dict(call.arguments))
    if not level.has(index):
        return along_dim(call)
    every, dim = level.expanded(x), moved(call.dim, x.dim())
    shape = (*every.shape[:dim], index.numel(), *every.shape[dim + 1 :])
    places = _spread(level, index, dim, shape).long()
    if isinstance(value, Tensor):
        return level.wrap(ops.scatter(every, dim, places, value.to(every.dtype).expand(shape)))
    return level.wrap(ops.scatter(every, dim, places, value))


@rule("masked_fill")
def masked_fill(call: Call) -> Any:
    level, x, mask = call.level, call.input, call.mask
    n = max(x.dim(), mask.dim())
    shape = broadcast_shapes(x._shape, mask._shape)
    value = level.aligned(call.value, n) if isinstance(call.value, Tensor) else call.value
    every = level.aligned(x, n).expand(level.size, *shape)
    if isinstance(value, Tensor) and value.dim():
        return level.wrap(ops.where(level.aligned(mask, n), value.to(every.dtype), every))
    return level.wrap(call(input=every, mask=level.aligned(mask, n), value=value))


@rule("_copy")
def copy(call: Call) -> Any:
    level, n = call.level, call.input.dim()
    return level.wrap(call(input=level.expanded(call.input), src=level.aligned(call.src, n)))


@rule("fill")
def fill(call: Call) -> Any:
    level, x, value = call.level, call.input, call.value
    if not level.has(value):
        return level.wrap(call(input=x._value))
    return level.wrap(level.aligned(value, x.dim()).to(x.dtype).expand(level.size, *x._shape).clone())


@rule("cat", "stack")
def join(call: Call) -> Any:
    level, tensors = call.level, call.tensors
    n = max([t.dim() for t in tensors]) + (call.function.op.name == "stack")
    return level.wrap(call(tensors=[level.expanded(t) for t in tensors], dim=moved(call.dim, n)))


def _written_part(interception: Any, op: Any, args: tuple, kwargs: dict) -> Any:
    """A copy of the first argument with others written into it: of each sample's own, if what is written is."""
    level = innermost((*args, *kwargs.values()))
    if level is not None and args:
        levels = interception.levels[: level.depth]
        args = (over(under(args[0], levels), levels), *args[1:])
    return interception.as_written(op, args, kwargs)


for _name in ("select_scatter", "slice_scatter", "diagonal_scatter", "as_strided_scatter"):
    COMPOSED[_name] = _written_part


@rule("constant_pad_nd")
def pad(call: Call) -> Any:
    return call.level.wrap(call(input=call.input._value)) if not call.level.has(call.value) else call_each(
        call.level, call.function, (), dict(call.arguments))  # fmt: skip


@rule("_mapped_pad_grad")
def mapped_pad_grad(call: Call) -> Any:
    return call.level.wrap(call(grad=call.grad._value, shape=(call.level.size, *call.shape)))


@rule("searchsorted")
def searchsorted(call: Call) -> Any:
    level, rows, x = call.level, call.sorted_sequence, call.arguments["input"]
    if not isinstance(x, Tensor) or rows.dim() > 1 and rows.dim() != x.dim():
        return call_each(level, call.function, (), dict(call.arguments))
    if rows.dim() == 1 and not level.has(rows) and call.sorter is None:
        return level.wrap(call(input=values_of(level, x)))
    every = level.expanded(x)
    flat = every.reshape(level.size, x.numel()) if rows.dim() == 1 else every
    found = call(**(call.expanded("sorted_sequence", "sorter") | {"input": flat}))
    return level.wrap(found.view(every.shape))


@rule("bucketize")
def bucketize(call: Call) -> Any:
    level, x = call.level, call.input
    if level.has(call.boundaries) or not level.has(x):
        return call_each(level, call.function, (), dict(call.arguments))
    return level.wrap(call(input=x._value))


@rule("isin")
def isin(call: Call) -> Any:
    if not call.level.has(call.elements) or call.level.has(call.test_elements):
        return call_each(call.level, call.function, (), dict(call.arguments))
    return call.level.wrap(call(elements=call.elements._value))
