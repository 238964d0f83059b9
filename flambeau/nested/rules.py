"""What ops do with nested tensors: what a dense op makes of all parts in one tensor, or of each part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.core.memory_format import strided
from flambeau.core.results import ReturnType
from flambeau.nested.tensor import NestedTensor, of_parts
from flambeau.ops import layouts
from flambeau.tensor.interception import rules_in
from flambeau.tensor.tensor import Tensor

__all__ = ["apply", "getitem", "padded"]

_ELEMENTWISE = frozenset(
    "clone _clone contiguous Tensor.contiguous _to_dtype Tensor.to Tensor.cpu detach alias _alias zeros_like ones_like empty_like full_like rand_like randn_like "
    "Tensor.float Tensor.double Tensor.half Tensor.bfloat16 Tensor.long Tensor.int Tensor.bool Tensor.type_as bernoulli dropout laid_out_as Tensor.laid_out_as "
    "nn.functional.dropout nn.functional.gelu nn.functional.relu nn.functional.silu nn.functional.elu nn.functional.leaky_relu nn.functional.relu6 "
    "nn.functional.softplus nn.functional.mish nn.functional.hardtanh nn.functional.sigmoid nn.functional.tanh nn.functional.logsigmoid nn.functional.selu "
    "nn.functional.celu nn.functional.hardswish nn.functional.hardsigmoid nn.functional.softsign nn.functional.threshold where masked_fill clamp div isclose "
    "nan_to_num square logical_not isinf isnan isfinite".split()
)
_REDUCTIONS = frozenset(
    "sum mean amax amin prod all any max min aten.max aten.min argmax argmin var std logsumexp nansum count_nonzero linalg.vector_norm norm".split()
)
_RULES: dict[str, Callable] = {}


_rule = rules_in(_RULES)


def apply(function: Any, args: tuple, kwargs: dict) -> Any:
    """The result of an op one of whose arguments is nested."""
    op = function.op
    name = op.name
    in_place = function.__name__.endswith("_") and function is not op.function
    if not in_place and name in _RULES:
        return _RULES[name](*args, **kwargs)
    if not in_place and name in _REDUCTIONS:
        return _reduced(function, *args, **kwargs)
    if op.form == "pointwise" or op.layout in (layouts.elementwise, layouts.of_real) or name in _ELEMENTWISE:
        return _elementwise(function, args, kwargs, in_place)
    raise NotImplementedError(
        f"{function.__name__}: flambeau has no rule for nested tensors; use .values(), .unbind() or .to_padded_tensor() first"
    )


def _nested(x: Any) -> bool:
    return isinstance(x, NestedTensor)


def _first(args: tuple, kwargs: dict) -> NestedTensor:
    return next(x for x in (*args, *kwargs.values()) if _nested(x))


def _elementwise(function: Any, args: tuple, kwargs: dict, in_place: bool) -> Any:
    like = _first(args, kwargs)

    def part(x: Any) -> Any:
        if _nested(x):
            if not _alike(x, like):
                shapes = " and ".join(str(tuple(y.shape)) for y in (like, x))
                raise RuntimeError(f"cannot call binary pointwise function {function.__name__} with inputs of shapes {shapes}")
            return x._v
        return _broadcast(x, like) if isinstance(x, Tensor) else x

    result = function(*[part(x) for x in args], **{k: part(x) for k, x in kwargs.items()})
    return like if in_place else like.with_values(result)


def _alike(x: NestedTensor, like: NestedTensor) -> bool:
    """Whether parts are of the same lengths: known to be, or, of the older layout, found to be."""
    by_lengths = x._ragged.kind is like._ragged.kind is strided and x._ragged.counts == like._ragged.counts
    return x._at == like._at and (x._ragged is like._ragged or by_lengths)


def _broadcast(x: Tensor, like: NestedTensor) -> Tensor:
    """A dense tensor beside a nested one's values: a batch of one, or of each part."""
    if x.dim() < like.dim():
        return x
    if x.dim() > like.dim() or x.shape[like._at] != 1:
        raise RuntimeError(
            f"cannot broadcast a tensor of shape {tuple(x.shape)} to a nested one of shape {tuple(like.shape)}: its ragged dim must be 1"
        )
    if x.shape[0] == 1:
        return x.squeeze(0)
    counts = flambeau.tensor(like._ragged.counts)
    return x.squeeze(like._at).repeat_interleave(counts, 0).movedim(0, like._at - 1)


def _dim(x: NestedTensor, dim: int, name: str) -> int:
    """A dim of a nested tensor as one of its values; neither that of the batch nor the ragged one."""
    d = dim % x.dim()
    if d in (0, x._at):
        raise RuntimeError(f"{name}(): not supported for NestedTensor on dim={d}")
    return d - 1


def _each(x: NestedTensor, function: Callable) -> NestedTensor:
    """What ``function`` makes of each part, with the same lengths."""
    return x.with_values(flambeau.cat([function(part) for part in x.unbind()], x._at - 1))


def _reduced(function: Any, x: NestedTensor, dim: Any = None, *args: Any, **kwargs: Any) -> Any:
    dims = [d % x.dim() for d in ((dim,) if isinstance(dim, int) else dim or ())]
    if not dims:
        packed: Any = x if x._ragged.lengths is None else x.contiguous()
        return function(packed._v, *([] if dim is None else [dim]), *args, **kwargs)
    if 0 in dims:
        raise RuntimeError(
            f"{function.__name__}(): not supported along the batch dimension but not the ragged dimension for NestedTensor"
        )
    if x._at in dims:
        own = [d - 1 for d in dims]
        found = [function(part, own if len(own) > 1 else own[0], *args, **kwargs) for part in x.unbind()]
        if isinstance(found[0], ReturnType):
            return type(found[0])([flambeau.stack(part) for part in zip(*found, strict=True)])
        return flambeau.stack(found)
    own = [d - 1 for d in dims]
    result = function(x._v, own if not isinstance(dim, int) else own[0], *args, **kwargs)
    keepdim = kwargs.get("keepdim", bool(args and args[0] is True))
    at = x._at if keepdim else x._at - sum(d < x._at for d in dims)
    if isinstance(result, ReturnType):
        return type(result)([x.with_values(r, at) for r in result])
    return x.with_values(result, at)


@_rule("softmax", "nn.functional.softmax")
def _softmax(x: NestedTensor, dim: int, *args: Any, **kwargs: Any) -> Any:
    return _over(flambeau.softmax, x, dim, kwargs)


@_rule("log_softmax", "nn.functional.log_softmax")
def _log_softmax(x: NestedTensor, dim: int, *args: Any, **kwargs: Any) -> Any:
    return _over(flambeau.log_softmax, x, dim, kwargs)


def _over(function: Callable, x: NestedTensor, dim: int, kwargs: dict) -> Any:
    settings = {"dtype": kwargs["dtype"]} if kwargs.get("dtype") is not None else {}
    d = dim % x.dim()
    if d == x._at:
        return _each(x, lambda part: function(part, d - 1, **settings))
    return x.with_values(function(x._v, _dim(x, dim, function.__name__), **settings))


@_rule("nn.functional.linear", "linear")
def _linear(input: NestedTensor, weight: Tensor, bias: Any = None) -> Any:
    if input._at == input.dim() - 1:
        raise RuntimeError("linear(): not supported for NestedTensor on the ragged dim")
    return input.with_values(flambeau.nn.functional.linear(input._v, weight, bias))


@_rule("matmul", "mm", "bmm")
def _matmul(input: Any, other: Any, **kwargs: Any) -> Any:
    if not _nested(other):
        if input._at == input.dim() - 1:  # the parts' last dim meets that of a dense batch
            return flambeau.stack([a @ (other[i] if other.dim() == input.dim() else other) for i, a in enumerate(input.unbind())])
        if other.dim() <= 2:
            return input.with_values(input._v @ other)
        return _each(input, iter_over(other))
    if not _nested(input):
        parts = [input[i] @ b if input.dim() == other.dim() else input @ b for i, b in enumerate(other.unbind())]
        return of_parts(parts, other._at, other._ragged.kind)
    parts = [a @ b for a, b in zip(input.unbind(), other.unbind(), strict=True)]
    if input._at == input.dim() - 1 and other._at == other.dim() - 2:
        return flambeau.stack(parts)
    raise RuntimeError(
        "matmul(): the result would differ in two dims, which the jagged layout cannot say; use scaled_dot_product_attention, or .unbind()"
    )


def iter_over(other: Tensor) -> Callable:
    """Products of parts with the matrices of a batch, one after the other."""
    rest = iter(other)
    return lambda part: part @ next(rest)


@_rule("nn.functional.scaled_dot_product_attention", "scaled_dot_product_attention")
def _attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False, **settings: Any
) -> Any:
    """Attention within each part."""
    if attn_mask is not None:
        raise RuntimeError("NestedTensor: attention masks are not supported: parts are of different lengths")
    if not all(map(_nested, (query, key, value))):
        raise ValueError("Expected query, key, and value to all be nested tensors, but got some that are dense")
    attend = flambeau.nn.functional.scaled_dot_product_attention
    parts = [
        attend(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), None, dropout_p, is_causal, **settings).squeeze(0)
        for q, k, v in zip(query.unbind(), key.unbind(), value.unbind(), strict=True)
    ]
    joined = flambeau.cat([part.movedim(query._at - 1, 0) for part in parts])  # steps are the outermost in memory
    return query.with_values(joined.movedim(0, query._at - 1))


@_rule("nn.functional.embedding", "embedding")
def _embedding(input: NestedTensor, weight: Tensor, *args: Any, **kwargs: Any) -> Any:
    return input.with_values(flambeau.nn.functional.embedding(input._v, weight, *args, **kwargs))


@_rule("nn.functional.layer_norm", "layer_norm")
def _layer_norm(
    input: NestedTensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5, *rest: Any
) -> Any:
    if input._at >= input.dim() - len(normalized_shape):
        raise RuntimeError("layer_norm(): normalization over the ragged dim is not supported for NestedTensor")
    return input.with_values(flambeau.nn.functional.layer_norm(input._v, normalized_shape, weight, bias, eps))


@_rule("nn.functional.rms_norm", "rms_norm")
def _rms_norm(input: NestedTensor, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Any:
    return input.with_values(flambeau.nn.functional.rms_norm(input._v, normalized_shape, weight, eps))


# --- shapes ---------------------------------------------------------------------------------------------------


@_rule("transpose", "swapaxes", "swapdims")
def _transpose(x: NestedTensor, dim0: int, dim1: int) -> Any:
    a, b = dim0 % x.dim(), dim1 % x.dim()
    if 0 in (a, b) and a != b:
        raise ValueError("Transpose is not supported on the batch dimension for jagged NT")
    at = b if x._at == a else a if x._at == b else x._at
    return x.with_values(x._v.transpose(a - 1, b - 1), at)


@_rule("permute", "Tensor.permute")
def _permute(x: NestedTensor, *dims: Any) -> Any:
    order = [d % x.dim() for d in (dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims)]
    if order[0] != 0:
        raise RuntimeError("permute(): not supported for NestedTensor on dim=0")
    return x.with_values(x._v.permute([d - 1 for d in order[1:]]), order.index(x._at))


@_rule("unsqueeze")
def _unsqueeze(x: NestedTensor, dim: int) -> Any:
    d = dim % (x.dim() + 1)
    if d == 0:
        raise RuntimeError("unsqueeze(): not supported for NestedTensor on dim=0")
    return x.with_values(x._v.unsqueeze(d - 1), x._at + (d <= x._at))


@_rule("squeeze")
def _squeeze(x: NestedTensor, dim: Any = None) -> Any:
    if dim is None:
        raise RuntimeError("squeeze(): expected dim to be specified for NestedTensor")
    d = _dim(x, dim, "squeeze")
    return x.with_values(x._v.squeeze(d), x._at - (d + 1 < x._at and x._v.shape[d] == 1))


@_rule("view", "Tensor.view", "reshape", "Tensor.reshape")
def _view(x: NestedTensor, *shape: Any) -> Any:
    sizes = list(shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)
    free = [i for i, n in enumerate(sizes) if n == -1 or n == x._ragged.size]
    if sizes[0] not in (len(x), -1) or x._at not in free:
        raise RuntimeError(
            f"view(): cannot view shape {tuple(x.shape)} as {tuple(sizes)}: the batch and the ragged dim stay where they are"
        )
    own = [x._v.shape[x._at - 1] if i == x._at else n for i, n in enumerate(sizes)][1:]
    return x.with_values(x._v.reshape(own))


@_rule("flatten")
def _flatten(x: NestedTensor, start_dim: int = 0, end_dim: int = -1) -> Any:
    first, last = start_dim % x.dim(), end_dim % x.dim()
    if first <= x._at <= last or first == 0:
        raise RuntimeError(f"flatten(): not supported for NestedTensor on dim={first}")
    return x.with_values(x._v.flatten(first - 1, last - 1), x._at - (last - first if last < x._at else 0))


@_rule("unflatten", "Tensor.unflatten")
def _unflatten(x: NestedTensor, dim: int, sizes: Any) -> Any:
    d = _dim(x, dim, "unflatten")
    return x.with_values(x._v.unflatten(d, sizes), x._at + (len(sizes) - 1 if d + 1 < x._at else 0))


def _in_pieces(name: str) -> Callable:
    def cut(x: NestedTensor, what: Any, dim: int = 0) -> Any:
        if name == "chunk" and dim % x.dim() == 0:
            rows = list(x.unbind())
            step = -(-len(rows) // what)
            return tuple(of_parts(rows[i : i + step], x._at, x._ragged.kind) for i in range(0, len(rows), step))
        return tuple(x.with_values(v) for v in getattr(flambeau, name)(x._v, what, _dim(x, dim, name)))

    return cut


for _name in ("chunk", "split", "split_with_sizes", "tensor_split"):
    _RULES[_name] = _in_pieces(_name)


@_rule("select")
def _select(x: NestedTensor, dim: int, index: int) -> Any:
    if dim % x.dim() == 0:
        return x.unbind()[index]
    d = _dim(x, dim, "select")
    return x.with_values(x._v.select(d, index), x._at - (d + 1 < x._at))


@_rule("narrow", "Tensor.narrow")
def _narrow(x: NestedTensor, dim: int, start: int, length: int) -> Any:
    return x.with_values(x._v.narrow(_dim(x, dim, "narrow"), start, length))


@_rule("cat", "concat")
def _cat(tensors: Any, dim: int = 0) -> Any:
    first = next(filter(_nested, tensors))
    if dim % first.dim() == 0:
        return of_parts([part for t in tensors for part in t.unbind()], first._at, first._ragged.kind)
    if not all(_nested(t) and _alike(t, first) for t in tensors):
        raise RuntimeError("cat(): NestedTensors must have the same ragged structure")
    return first.with_values(flambeau.cat([t._v for t in tensors], _dim(first, dim, "cat")))


@_rule("unbind", "Tensor.unbind")
def _unbind(x: NestedTensor, dim: int = 0) -> Any:
    return x.unbind(dim)


@_rule("Tensor.expand", "expand")
def _expand(x: NestedTensor, *shape: Any) -> Any:
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    own = [-1 if n == x._ragged.size else n for n in sizes][1:]
    return x.with_values(x._v.expand(own))


@_rule("contiguous", "Tensor.contiguous")
def _contiguous(x: NestedTensor, memory_format: Any = None) -> Any:
    if x._ragged.lengths is not None:
        return of_parts(list(x.unbind()), x._at, x._ragged.kind)
    return x if x.is_contiguous() else x.with_values(x._v.contiguous())


def getitem(x: NestedTensor, key: Any) -> Any:
    """``x[i]``: a part; ``x[..., k]``: of dims that are the same for all."""
    if isinstance(key, int):
        return x.unbind()[key]
    keys = list(key) if isinstance(key, tuple) else [key]
    if ... in [k for k in keys if k is ...]:
        place = next(i for i, k in enumerate(keys) if k is ...)
        keys[place : place + 1] = [slice(None)] * (x.dim() - len(keys) + 1)
    keys += [slice(None)] * (x.dim() - len(keys))
    if isinstance(keys[0], int):
        rest = tuple(keys[1:])
        return x.unbind()[keys[0]][rest]
    for d in (0, x._at):
        if keys[d] != slice(None):
            raise RuntimeError(f"slice(): not supported for NestedTensor on dim={d}")
    at = x._at - sum(isinstance(k, int) for k in keys[: x._at])
    return x.with_values(x._v[tuple(keys[1:])], at)


def padded(x: NestedTensor, padding: float, output_size: Any = None) -> Tensor:
    """The parts in a dense tensor, with ``padding`` behind the shorter ones."""
    longest = max(x._ragged.counts, default=0)
    if output_size is not None:
        sizes = [n for i, n in enumerate(output_size) if i not in (0, x._at)]
        if sizes != [n for i, n in enumerate(x.shape) if i not in (0, x._at)] or output_size[0] != len(x):
            raise RuntimeError(
                f"to_padded_tensor(): output_size {tuple(output_size)} does not fit a nested tensor of shape {tuple(x.shape)}"
            )
        longest = output_size[x._at]  # what is longer is cut off
    parts = []
    for part in x.unbind():
        part = part.narrow(x._at - 1, 0, min(longest, part.shape[x._at - 1]))
        missing = longest - part.shape[x._at - 1]
        room = [0, 0] * (part.dim() - x._at) + [0, missing]
        parts.append(flambeau.nn.functional.pad(part, room, value=padding) if missing else part)
    return flambeau.stack(parts)
