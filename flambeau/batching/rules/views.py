"""Views: the same view of all samples, in the memory that they have."""

from __future__ import annotations

from math import prod
from typing import Any

from flambeau.batching.rules.families import Call, along, moved, rule
from flambeau.core import dtypes
from flambeau.core.size import Size


@rule("_alias", "_conj", "_neg_view", "view_as_real", "view_as_complex")
def whole(call: Call) -> Any:
    return call.level.wrap(call(input=call.input._value))


@rule("Tensor.view")
def view(call: Call) -> Any:
    size = call.size
    if len(size) == 1 and isinstance(size[0], dtypes.dtype):
        return call.level.wrap(call.input._value.view(size[0]))
    return call.level.wrap(call.input._value.view(call.level.size, *size))


@rule("permute")
def permute(call: Call) -> Any:
    x = call.input
    if len(call.dims) != x.dim():
        x._value.select(0, 0).permute(*call.dims)  # raises
    return call.level.wrap(x._value.permute(0, *moved(call.dims, x.dim())))


@rule("transpose")
def transpose(call: Call) -> Any:
    return along(call, "dim0", "dim1")


@rule("t")
def t(call: Call) -> Any:
    value = call.input._value
    if value.dim() > 3:
        value.select(0, 0).t()  # raises
    return call.level.wrap(value.transpose(1, 2) if value.dim() == 3 else value.alias() if hasattr(value, "alias") else value)


@rule("squeeze")
def squeeze(call: Call) -> Any:
    x, dim = call.input, call.dim
    n = x.dim()
    dims = range(n) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
    if not n:
        moved(tuple(dims), n)  # raises where there is no such dim
        return call.level.wrap(x._value)
    return call.level.wrap(call(input=x._value, dim=moved(tuple(dims), n)))


@rule("unsqueeze")
def unsqueeze(call: Call) -> Any:
    return call.level.wrap(call(input=call.input._value, dim=moved(call.dim, call.input.dim() + 1)))


@rule("Tensor.expand")
def expand(call: Call) -> Any:
    size = call.size
    n = max(len(size), call.input.dim())
    return call.level.wrap(call.level.aligned(call.input, n).expand(call.level.size, *size))


@rule("diagonal")
def diagonal(call: Call) -> Any:
    return along(call, "dim1", "dim2")


@rule("select", "_slice", "split_with_sizes", "_split_evenly", "unbind")
def part(call: Call) -> Any:
    if not call.input.dim():
        call.function.op.check(*[call.input if k == "input" else v for k, v in call.arguments.items()])  # raises
    return call.level.wrap(call(input=call.input._value, dim=moved(call.dim, call.input.dim())))


@rule("Tensor.unfold")
def unfold(call: Call) -> Any:
    x = call.input
    if not x.dim():
        return call.level.wrap(x._value.unsqueeze(1).unfold(1, call.size, call.step).squeeze(1))
    return call.level.wrap(call(input=x._value, dimension=moved(call.dimension, x.dim())))


@rule("as_strided")
def as_strided(call: Call) -> Any:
    """The strides of the samples stay; where a sample begins says its place in the memory that all of them share."""
    value, size, stride = call.input._value, tuple(call.size), tuple(call.stride)
    offset = value._offset if call.storage_offset is None else call.storage_offset
    if value.stride(0) == 0 and call.level.size > 1:  # all samples are in the same place: each gets one of its own
        offset -= value._offset
        value = value.clone()
    own = sum([(n - 1) * s for n, s in zip(call.input.shape, call.input.stride(), strict=True)])
    last = offset + sum([(n - 1) * s for n, s in zip(size, stride, strict=True)])
    if 0 not in size and last > value._offset + own:
        raise RuntimeError(
            f"result = tensor.as_strided({list(size)}, {list(stride)}, {offset}) can access memory outside of `tensor`. `result` can "
            f"access some memory in range [{offset}, {last}], but `tensor` can only access some memory in range [{value._offset}, "
            f"{value._offset + own}]. This is not supported inside of vmap, please try to rewrite the `as_strided` call as a "
            "sequence of PyTorch view operations"
        )
    return call.level.wrap(value.as_strided((call.level.size, *size), (value.stride(0), *stride), offset))


@rule("_strided_scatter")
def strided_scatter(call: Call) -> Any:
    """What :func:`as_strided` takes from a row of memory, put back into a row of zeros: into one for each sample."""
    level, row = call.level, prod(call.size)
    result = call(g_in=level.expanded(call.g_in), size=Size((level.size * row,)), strides=(row, *call.strides), offset=call.offset)
    return level.wrap(result.view(level.size, *call.size))
