"""The operators that code of TorchScript archives calls: those of tensors by their records, and those of plain values here."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import flambeau
from flambeau.core import dtypes, memory_format
from flambeau.core.device import device
from flambeau.nn import functional as F
from flambeau.nn import native
from flambeau.ops.record import registry
from flambeau.tensor import Tensor

__all__ = ["dtype_of", "find_operator"]

# The numbers that archives have for dtypes.
_DTYPES = [
    "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex32", "complex64", "complex128", "bool", None, None,
    None, "bfloat16",
]  # fmt: skip
_NUMBERS = {name: i for i, name in enumerate(_DTYPES) if name}
_BY_NAME = {d.name: d for d in dtypes.ALL}
_FORMATS = {
    0: memory_format.contiguous_format,
    1: memory_format.preserve_format,
    2: memory_format.channels_last,
    3: memory_format.channels_last_3d,
}


def dtype_of(number: Any) -> Any:
    """The dtype for a number of an archive."""
    if isinstance(number, bool) or not isinstance(number, int):
        return number
    name = _DTYPES[number] if 0 <= number < len(_DTYPES) else None
    if name is None or name not in _BY_NAME:
        raise RuntimeError(f"the archive uses dtype number {number}, which flambeau does not have")
    return _BY_NAME[name]


def number_of(kind: dtypes.dtype) -> int:
    return _NUMBERS[kind.name]


def _any_tensor(args: tuple) -> bool:
    return any(isinstance(a, Tensor) for a in args)


def _either(plain: Callable, tensors: str) -> Callable:
    """An operator of plain values, and the one of tensors with its name."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if _any_tensor(args):
            return _tensor_operator(tensors)(*args, **kwargs)
        return plain(*args)

    return call


def _div(a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    return a / b


def _slice(x: Any, *args: Any) -> Any:
    if not isinstance(x, Tensor):
        return x[slice(*args, *(None, None, 1)[len(args) :])]
    given: tuple = (0, None, None, 1)
    dim, start, end, step = args + given[len(args) :]
    before = [slice(None)] * (dim if dim >= 0 else dim + x.dim())
    return x[(*before, slice(start, end, step))]


def _size(x: Tensor, dim: int | None = None) -> Any:
    return list(x.shape) if dim is None else x.size(dim)


def _to(x: Any, *args: Any, **kwargs: Any) -> Any:
    """All forms of ``to``: by dtype, by device, like another tensor."""
    kwargs = {k: v for k, v in kwargs.items() if v is not None and k in ("dtype", "copy")}
    rest = [a for a in args if a is not None]
    target = None
    copied = bool(kwargs.get("copy", False))
    flags = []
    for a in rest:
        if isinstance(a, bool):
            flags.append(a)
        elif isinstance(a, int) and target is None:
            target = dtype_of(a)
        elif isinstance(a, Tensor):
            target = a.dtype
    if kwargs.get("dtype") is not None:
        target = dtype_of(kwargs["dtype"])
    copied = copied or len(flags) > 1 and flags[1]
    return x.to(target, copy=copied) if target is not None else x.clone() if copied else x


def _list_pop(x: list, i: int = -1) -> Any:
    return x.pop(i)


def _append(x: list, value: Any) -> list:
    x.append(value)
    return x


def _extend(x: list, more: list) -> None:
    x.extend(more)


def _insert(x: list, i: int, value: Any) -> None:
    x.insert(i, value)


def _remainder(a: Any, b: Any) -> Any:
    return a % b


def _format(text: str, *args: Any) -> str:
    values = iter(args)
    first, *rest = text.split("{}")
    return first + "".join([str(next(values, "{}")) + part for part in rest])


def _raise(message: Any = "", kind: str | None = None) -> None:
    names = {
        "builtins.ValueError": ValueError,
        "builtins.RuntimeError": RuntimeError,
        "builtins.TypeError": TypeError,
        "builtins.IndexError": IndexError,
        "builtins.KeyError": KeyError,
        "builtins.NotImplementedError": NotImplementedError,
        "builtins.AssertionError": AssertionError,
    }
    text = str(message)
    if kind is None and text.startswith("AssertionError"):
        raise AssertionError(text.partition(": ")[2])
    raise names.get(kind or "", RuntimeError)(text)


def _warn(message: str, stacklevel: int = 2) -> None:
    warnings.warn(message, stacklevel=stacklevel)


def _derive_index(i: int, start: int, step: int) -> int:
    return start + i * step


def _range_length(start: int, stop: int, step: int) -> int:
    return len(range(start, stop, step))


def _tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return flambeau.tensor(data, dtype=dtype_of(dtype), requires_grad=requires_grad)


def _number_to_tensor(x: Any) -> Tensor:
    return flambeau.tensor(x)


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Any,
    stride: list,
    padding: list,
    dilation: list,
    transposed: bool,
    output_padding: list,
    groups: int,
    *more: Any,
) -> Tensor:
    n = input.dim() - 2
    if transposed:
        return getattr(F, f"conv_transpose{n}d")(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return getattr(F, f"conv{n}d")(input, weight, bias, stride, padding, dilation, groups)


def _conv(n: int) -> Callable:
    function = getattr(F, f"conv{n}d")

    def conv(
        input: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> Tensor:
        return function(
            input, weight, bias, _n(stride, n), padding if isinstance(padding, str) else _n(padding, n), _n(dilation, n), groups
        )

    return conv


def _conv_transpose(n: int) -> Callable:
    function = getattr(F, f"conv_transpose{n}d")

    def conv(
        input: Tensor,
        weight: Tensor,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Tensor:
        return function(input, weight, bias, _n(stride, n), _n(padding, n), _n(output_padding, n), groups, _n(dilation, n))

    return conv


def _n(x: Any, n: int) -> Any:
    return x * n if isinstance(x, list) and len(x) == 1 else x


def _pool(name: str) -> Callable:
    function = getattr(F, name)

    def pool(input: Tensor, kernel: Any, stride: Any = None, *args: Any) -> Tensor:
        return function(input, kernel, None if stride == [] else stride, *args)

    return pool


def _upsample(mode: str, corners: bool) -> Callable:
    def run(x: Tensor, size: Any, *rest: Any) -> Tensor:
        align = rest[0] if corners and rest and isinstance(rest[0], bool) else None
        scales = [r for r in rest if isinstance(r, (float, list)) and r != []]
        factor: Any = None
        if size is None:
            factor = scales[0] if len(scales) == 1 else scales
        return F.interpolate(x, size=size, scale_factor=factor, mode=mode, align_corners=align)

    return run


def _loss(function: Callable) -> Callable:
    """A loss whose reduction is a number."""

    def run(input: Tensor, target: Tensor, *args: Any) -> Tensor:
        args_, kwargs = list(args), {}
        name = function.__name__
        if name in ("cross_entropy", "nll_loss"):
            order = ["weight", "reduction", "ignore_index", "label_smoothing"]
        elif name in ("binary_cross_entropy",):
            order = ["weight", "reduction"]
        elif name == "smooth_l1_loss":
            order = ["reduction", "beta"]
        elif name == "huber_loss":
            order = ["reduction", "delta"]
        else:
            order = ["reduction"]
        for key, value in zip(order, args_):
            kwargs[key] = native.reduction_of(value) if key == "reduction" else value
        return function(input, target, **kwargs)

    return run


def _mean_by_default(function: Callable) -> Callable:
    """A loss as its schema says; the function of Python takes no mean where no reduction is named."""
    place = function.op.check.__code__.co_varnames.index("reduction")  # type: ignore[attr-defined]

    def run(*args: Any, **kwargs: Any) -> Tensor:
        if len(args) <= place:
            kwargs.setdefault("reduction", 1)
        return function(*args, **kwargs)

    return run


def _where(condition: Tensor, a: Any = None, b: Any = None) -> Any:
    return flambeau.where(condition) if a is None else flambeau.where(condition, a, b)


def _index(x: Tensor, indices: list) -> Tensor:
    return x[tuple(slice(None) if i is None else i for i in indices)]


def _index_put(inplace: bool) -> Callable:
    def run(x: Tensor, indices: list, values: Tensor, accumulate: bool = False) -> Tensor:
        out = x if inplace else x.clone()
        if any(i is None for i in indices):
            key = tuple(slice(None) if i is None else i for i in indices)
            out[key] = out[key] + values if accumulate else values
            return out
        return out.index_put_(tuple(indices), values, accumulate)

    return run


def _pad(x: Tensor, pad: list, mode: str = "constant", value: Any = None) -> Tensor:
    return F.pad(x, pad, mode, value)


def _softmax(name: str) -> Callable:
    def run(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
        return getattr(flambeau, name)(x, dim, dtype=dtype_of(dtype))

    return run


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Any = None,
    p: float = 0.0,
    causal: bool = False,
    *,
    scale: Any = None,
    enable_gqa: bool = False,
) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, mask, p, causal, scale=scale, enable_gqa=enable_gqa)


def _elu(x: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    if scale != 1.0:
        return flambeau.where(x > 0, x * scale, (scale * alpha) * (x * input_scale).expm1())
    return F.elu(x, alpha)


def _getitem(x: Any, i: Any) -> Any:
    return x[i]


def _set_item(x: Any, i: Any, value: Any) -> Any:
    x[i] = value
    return x


def _max(*args: Any) -> Any:
    return max(*args) if not _any_tensor(args) else flambeau.max(*args)


def _min(*args: Any) -> Any:
    return min(*args) if not _any_tensor(args) else flambeau.min(*args)


def _len(x: Any) -> int:
    return len(x)


def _item(x: Any) -> Any:
    return x.item() if isinstance(x, Tensor) else x


def _like(name: str) -> Callable:
    def run(
        x: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None, memory_format: Any = None
    ) -> Tensor:
        return getattr(flambeau, name)(x, dtype=dtype_of(dtype))

    return run


def _native_attention(*args: Any) -> Any:
    raise RuntimeError("torch._native_multi_head_attention in an archive: flambeau has the modules' slow path")


def _clone(x: Tensor, *, memory_format: Any = None) -> Tensor:
    return x.clone(memory_format=_FORMATS[memory_format]) if memory_format is not None else x.clone()


def _contiguous(x: Tensor, *, memory_format: Any = None) -> Tensor:
    return x.contiguous(memory_format=_FORMATS[memory_format]) if memory_format is not None else x.contiguous()


def _same(x: Any, *args: Any, **kwargs: Any) -> Any:
    return x


_TABLE: dict[str, Callable] = {
    # plain values
    "add": _either(operator.add, "add"), "sub": _either(operator.sub, "sub"), "mul": _either(operator.mul, "mul"),
    "div": _either(_div, "div"), "floordiv": _either(operator.floordiv, "floor_divide"), "remainder": _either(_remainder, "remainder"),
    "pow": _either(operator.pow, "pow"), "neg": _either(operator.neg, "neg"), "eq": _either(operator.eq, "eq"),
    "ne": _either(operator.ne, "ne"), "lt": _either(operator.lt, "lt"), "le": _either(operator.le, "le"), "gt": _either(operator.gt, "gt"),
    "ge": _either(operator.ge, "ge"), "__and__": _either(operator.and_, "bitwise_and"), "__or__": _either(operator.or_, "bitwise_or"),
    "__xor__": _either(operator.xor, "bitwise_xor"), "__not__": operator.not_, "__is__": operator.is_, "__isnot__": operator.is_not,
    "__contains__": operator.contains, "__getitem__": _getitem, "_set_item": _set_item, "len": _len, "append": _append, "extend": _extend,
    "insert": _insert, "pop": _list_pop, "clear": lambda x: x.clear(), "reverse": lambda x: x.reverse(), "copy": lambda x: x.copy(),
    "index": lambda x, y: _index(x, y) if isinstance(x, Tensor) else x.index(y), "count": lambda x, y: x.count(y),
    "keys": lambda x: list(x.keys()), "values": lambda x: list(x.values()) if isinstance(x, dict) else x.values(), "items": lambda x: list(x.items()),
    "get": lambda x, *a: x.get(*a), "update": lambda x, y: x.update(y), "setdefault": lambda x, *a: x.setdefault(*a), "dict": lambda *a: dict(*a),
    "list": lambda x: list(x), "str": str, "format": _format, "percentFormat": lambda t, *a: t % a, "join": lambda s, x: s.join(x), "split": lambda x, *a, **k: _tensor_operator("split")(x, *a, **k) if isinstance(x, Tensor) else x.split(*a),
    "strip": lambda x, *a: x.strip(*a), "lower": lambda x: x.lower(), "upper": lambda x: x.upper(), "startswith": lambda x, y: x.startswith(y),
    "endswith": lambda x, y: x.endswith(y), "replace": lambda x, a, b: x.replace(a, b), "find": lambda x, y: x.find(y), "ord": ord, "chr": chr,
    "Int": lambda x: int(_item(x)), "Float": lambda x: float(_item(x)), "Bool": lambda x: bool(_item(x)), "IntImplicit": _item, "FloatImplicit": _item, "ScalarImplicit": _item,
    "item": _item, "abs": _either(abs, "abs"), "floor": _either(math.floor, "floor"), "ceil": _either(math.ceil, "ceil"),
    "sqrt": _either(math.sqrt, "sqrt"), "exp": _either(math.exp, "exp"), "log": _either(math.log, "log"), "round": _either(round, "round"), "sin": _either(math.sin, "sin"), "cos": _either(math.cos, "cos"), "tanh": _either(math.tanh, "tanh"),
    "sum": lambda x, *a, **k: _tensor_operator("sum")(x, *a, **k) if isinstance(x, Tensor) else sum(x), "sorted": sorted, "all": lambda x, *a, **k: _tensor_operator("all")(x, *a, **k) if isinstance(x, Tensor) else all(x),
    "any": lambda x, *a, **k: _tensor_operator("any")(x, *a, **k) if isinstance(x, Tensor) else any(x), "warn": _warn, "__derive_index": _derive_index, "__range_length": _range_length, "device": device,
    "set_grad_enabled": lambda on: flambeau.autograd.set_grad_enabled(on), "is_grad_enabled": flambeau.is_grad_enabled, "manual_seed": lambda n: flambeau.manual_seed(n),
    # tensors, where archives give other arguments than programs
    "slice": _slice, "size": _size, "to": _to, "tensor": _tensor, "_convolution": _convolution, "convolution": _convolution,
    "where": _where, "index_put": _index_put(False), "index_put_": _index_put(True), "pad": _pad, "constant_pad_nd": lambda x, p, v=0: F.pad(x, p, "constant", v),
    "softmax": _softmax("softmax"), "log_softmax": _softmax("log_softmax"), "scaled_dot_product_attention": _attention, "elu": _elu, "elu_": _elu,
    "numel": lambda x: x.numel(), "dim": lambda x: x.dim(), "detach": lambda x: x.detach(), "clone": _clone, "contiguous": _contiguous, "stride": lambda x, d=None: list(x.stride()) if d is None else x.stride(d),
    "is_contiguous": lambda x: x.is_contiguous(), "storage_offset": lambda x: x.storage_offset(), "element_size": lambda x: x.element_size(),
    "cpu": _same, "requires_grad_": lambda x, on=True: x.requires_grad_(on), "type_as": lambda x, y: x.to(y.dtype), "alias": lambda x: x.view(x.shape), "lift_fresh": _same, "lift_fresh_copy": lambda x: x.clone(), "_native_multi_head_attention": _native_attention,
    "upsample_nearest1d": _upsample("nearest", False), "upsample_nearest2d": _upsample("nearest", False), "upsample_nearest3d": _upsample("nearest", False), "upsample_linear1d": _upsample("linear", True),
    "upsample_bilinear2d": _upsample("bilinear", True), "upsample_bicubic2d": _upsample("bicubic", True), "upsample_trilinear3d": _upsample("trilinear", True),
    "reflection_pad1d": lambda x, p: F.pad(x, p, "reflect"), "reflection_pad2d": lambda x, p: F.pad(x, p, "reflect"), "reflection_pad3d": lambda x, p: F.pad(x, p, "reflect"), "replication_pad1d": lambda x, p: F.pad(x, p, "replicate"), "replication_pad2d": lambda x, p: F.pad(x, p, "replicate"), "replication_pad3d": lambda x, p: F.pad(x, p, "replicate"),
    "is_floating_point": lambda x: x.is_floating_point(), "is_complex": lambda x: x.is_complex(), "silu_": lambda x: F.silu(x, inplace=True), "hardtanh_": lambda x, a=-1.0, b=1.0: F.hardtanh(x, a, b, True), "leaky_relu_": lambda x, s=0.01: F.leaky_relu(x, s, True), "hardswish_": lambda x: F.hardswish(x, True), "hardsigmoid_": lambda x: F.hardsigmoid(x, True), "relu6_": lambda x: F.relu6(x, True),
}  # fmt: skip
for _n_dims in (1, 2, 3):
    _TABLE[f"conv{_n_dims}d"] = _conv(_n_dims)
    _TABLE[f"conv_transpose{_n_dims}d"] = _conv_transpose(_n_dims)
    for _kind in ("max_pool", "avg_pool"):
        _TABLE[f"{_kind}{_n_dims}d"] = _pool(f"{_kind}{_n_dims}d")
for _name in ("zeros_like", "ones_like", "empty_like", "rand_like", "randn_like"):
    _TABLE[_name] = _like(_name)
for _name, _key in {
    "mse_loss": "mse_loss", "l1_loss": "l1_loss", "cross_entropy_loss": "cross_entropy", "nll_loss": "nll_loss", "nll_loss_nd": "nll_loss", "binary_cross_entropy": "binary_cross_entropy",
    "smooth_l1_loss": "smooth_l1_loss", "huber_loss": "huber_loss", "soft_margin_loss": "soft_margin_loss",
}.items():  # fmt: skip
    _TABLE[_name] = _loss(getattr(F, _key))
for _name in (
    "binary_cross_entropy_with_logits",
    "kl_div",
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "triplet_margin_loss",
    "ctc_loss",
):
    _TABLE[_name] = _mean_by_default(getattr(native, _name))

_PRIM: dict[str, Callable] = {
    "RaiseException": _raise, "NumToTensor": _number_to_tensor, "dtype": lambda x: number_of(x.dtype), "device": lambda x: x.device, "data": lambda x: x.data,
    "max": _max, "min": _min, "is_cuda": lambda x: False, "is_nested": lambda x: False, "is_sparse": lambda x: x.layout is not memory_format.strided, "is_quantized": lambda x: False, "is_mps": lambda x: False, "is_meta": lambda x: False,
    "requires_grad": lambda x: x.requires_grad, "grad": lambda x: x.grad, "shape": lambda x: list(x.shape), "ndim": lambda x: x.dim(), "layout": lambda x: 0, "type": lambda d: d.type,
    "abs": _TABLE["abs"], "unchecked_unwrap_optional": _same, "Print": lambda *a: print(*a), "T": lambda x: x.T, "mT": lambda x: x.mT, "itemsize": lambda x: x.itemsize, "index": lambda d: d.index,
    "tolist": lambda x, *a: x.tolist(), "name": lambda x: None, "rangelist": lambda n: list(range(n)), "is_cpu": lambda x: True,
}  # fmt: skip


def _tensor_operator(name: str) -> Callable:
    """The function of an op's record, given what archives give: numbers for dtypes, and for what programs leave out."""
    for full in (name, f"nn.functional.{name}", f"Tensor.{name}"):
        if full in registry:
            function: Callable = registry[full].function
            break
    else:
        base = name[:-1] if name.endswith("_") and not name.endswith("__") else None
        if base is not None and any(
            f"{space}{base}" in registry and registry[f"{space}{base}"].inplace for space in ("", "Tensor.")
        ):
            function = getattr(Tensor, name)
        elif base is not None and f"nn.functional.{base}" in registry:
            function = partial(registry[f"nn.functional.{base}"].function, inplace=True)
        elif name.startswith(("linalg_", "fft_", "special_")) and name.replace("_", ".", 1) in registry:
            function = registry[name.replace("_", ".", 1)].function
        else:
            raise RuntimeError(f"Unknown builtin op: aten::{name}. The archive needs an operator that flambeau does not have")

    def call(*args: Any, **kwargs: Any) -> Any:
        settings = {}
        for key, value in kwargs.items():
            if key == "dtype":
                if value is not None:
                    settings[key] = dtype_of(value)
            elif key == "memory_format":
                if value is not None:
                    settings[key] = _FORMATS[value]
            elif key not in ("layout", "pin_memory", "device") and not (key in ("generator", "out") and value is None):
                settings[key] = value
        return function(*args, **settings)

    return call


PYTHON: dict[str, Any] = {
    **{f.__name__: f for f in (len, range, int, float, bool, str, abs, min, max, sum, enumerate, zip, list, tuple, dict, sorted, reversed, print, round, any, all, divmod, complex)},
    **{f"math_{name}": f for name, f in vars(math).items() if callable(f) and not name.startswith("_")},
    "no_grad": flambeau.no_grad, "enable_grad": flambeau.enable_grad,
    "ValueError": ValueError, "RuntimeError": RuntimeError, "TypeError": TypeError, "IndexError": IndexError, "KeyError": KeyError,
    "NotImplementedError": NotImplementedError, "AssertionError": AssertionError, "Exception": Exception,
}  # fmt: skip
"""Functions and classes of Python that scripted code may use."""

_OWN: dict[str, Any] = {
    "getitem": Tensor.__getitem__, "setitem": Tensor.__setitem__, "slice": slice, "dtype": lambda name: _BY_NAME[name],
    "format": memory_format._named, "device": device, "detach": Tensor.detach, "size": lambda t, i: t._shape[i],
}  # fmt: skip


def _own_operator(name: str) -> Any:
    """What traces call: public functions by the full names of their records, and their forms in place."""
    if name in _OWN:
        return _OWN[name]
    if name in registry:
        return registry[name].function
    if name.endswith("_") and name[:-1] in registry:
        return getattr(Tensor, name.rpartition(".")[2])
    raise RuntimeError(f"Unknown builtin op: flambeau::{name}")


_PROPERTIES = frozenset(
    """shape dtype device size dim ndim numel nelement T mT H mH real imag item tolist detach data requires_grad is_floating_point is_complex is_contiguous
    stride new_tensor layout is_cuda is_sparse is_quantized element_size itemsize nbytes type_as to cpu""".split()
)


def is_method_of_tensors(name: str) -> bool:
    """Whether code may ask a tensor for an attribute: an op, its form in place, or a fact."""
    if name in _PROPERTIES:
        return True
    base = name[:-1] if name.endswith("_") else name
    return not name.startswith("_") and any(f"{space}{n}" in registry for n in (name, base) for space in ("", "Tensor."))


def find_operator(path: str) -> Callable:
    """The operator ``torch.NAME`` or ``ops.prim.NAME``; ``RuntimeError`` where there is none."""
    space, _, name = path.partition(".")
    if space == "torch":
        return _TABLE.get(name) or _tensor_operator(name)
    kind, _, name = name.partition(".")
    if kind == "flambeau":
        return _own_operator(name)
    if kind == "python" and name in PYTHON:
        return PYTHON[name]
    if kind == "prim" and name in _PRIM:
        return _PRIM[name]
    if kind == "aten":
        return _TABLE.get(name) or _tensor_operator(name)
    raise RuntimeError(f"Unknown builtin op: {kind}::{name}. The archive needs an operator that flambeau does not have")
