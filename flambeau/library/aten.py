"""``torch.ops.aten``: PyTorch's own operators, by the records of flambeau's functions.

``aten.txt`` has PyTorch's schemas; they are parsed when they are first asked for. A call goes to the function of the
same name, or to one of the few here, whose arguments or results differ from those of a function that programs call. Programs also
ask for operators that they never call, to compare others with or to say what stands for them: so all are there, and what flambeau
has no function for says so when it is called.

Source: https://docs.pytorch.org/docs/stable/torch.compiler_ir.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, prod
from pathlib import Path
from typing import Any

import flambeau
from flambeau.core import dtypes, memory_format
from flambeau.jit.operators import find_operator
from flambeau.library import operators
from flambeau.library.aten_backward import BACKWARD, UPSAMPLING
from flambeau.library.operators import OpOverload, OpOverloadPacket
from flambeau.library.schema import parse_schema
from flambeau.library.schema_types import NumberOrTensor, TensorType
from flambeau.nn import functional
from flambeau.ops.convolution import _convolution, _convolution_input, _convolution_weight
from flambeau.tensor import Tensor

F: Any = functional
_FORMATS = {
    memory_format.contiguous_format: 0,
    memory_format.preserve_format: 1,
    memory_format.channels_last: 2,
    memory_format.channels_last_3d: 3,
}


def _moments(x: Tensor, dims: list[int], eps: float) -> tuple[Tensor, Tensor]:
    """The mean along some dims, and one over the standard deviation, as normalisations keep them."""
    wide = x.float() if x.dtype in (dtypes.float16, dtypes.bfloat16) else x
    mean = wide.mean(dims, keepdim=True)
    return mean, (wide.var(dims, correction=0, keepdim=True) + eps).rsqrt()


def _native_layer_norm(x: Tensor, shape: list[int], weight: Any, bias: Any, eps: float) -> tuple:
    return F.layer_norm(x, shape, weight, bias, eps), *_moments(x, list(range(-len(shape), 0)), eps)


def _native_group_norm(x: Tensor, weight: Any, bias: Any, n: int, c: int, hw: int, group: int, eps: float) -> tuple:
    mean, scale = _moments(x.reshape(n, group, -1), [2], eps)
    return F.group_norm(x, group, weight, bias, eps), mean.reshape(n, group), scale.reshape(n, group)


def _native_batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float
) -> tuple:
    if not training:
        return F.batch_norm(x, mean, var, weight, bias, False, momentum, eps), x.new_empty(0), x.new_empty(0)
    m, scale = _moments(x, [0, *range(2, x.dim())], eps)
    return F.batch_norm(x, mean, var, weight, bias, True, momentum, eps), m.reshape(-1), scale.reshape(-1)


def _batch_norm_with_update(x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float) -> tuple:
    return *_native_batch_norm(x, weight, bias, mean, var, True, momentum, eps), x.new_empty(0, dtype=dtypes.uint8)


def _safe_softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Zeros, not NaN, for rows in which everything is masked."""
    masked = (x == -inf).all(dim, keepdim=True)
    return flambeau.softmax(x.masked_fill(masked, 0), dim, dtype=dtype).masked_fill(masked, 0)


def _softmax(function: Callable) -> Callable:
    return lambda x, dim, half_to_float: function(x, dim, dtype=dtypes.float32 if half_to_float else None)


def _to_copy(x: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None, non_blocking: bool = False,
             memory_format: Any = None) -> Tensor:  # fmt: skip
    settings = {k: v for k, v in {"dtype": dtype, "device": device, "memory_format": memory_format}.items() if v is not None}
    return x.to(copy=True, **settings) if settings else x.clone()


def _native_dropout(x: Tensor, p: float, train: bool | None) -> tuple:
    if train is False or p == 0:
        return x.clone(), flambeau.ones_like(x, dtype=dtypes.bool)
    if p == 1:
        return flambeau.zeros_like(x), flambeau.zeros_like(x, dtype=dtypes.bool)
    mask = flambeau.rand_like(x) < 1 - p
    return mask.mul(x).mul(1.0 / (1.0 - p)), mask


def _nll_loss_forward(x: Tensor, target: Tensor, weight: Any, reduction: int, ignore_index: int) -> tuple:
    loss = F.nll_loss(x, target, weight, reduction=("none", "mean", "sum")[reduction], ignore_index=ignore_index)
    used = target != ignore_index
    total = (used if weight is None else weight[target.where(used, target.new_zeros(()))].where(used, weight.new_zeros(()))).sum()
    return loss, total.to(x.dtype) if reduction else x.new_zeros(())


def _log_sigmoid_forward(x: Tensor) -> tuple:
    return F.logsigmoid(x), (-x.abs()).exp()


def _bernoulli(x: Tensor, p: Any = None, *, generator: Any = None) -> Tensor:
    return flambeau.bernoulli(x, generator=generator) if p is None else flambeau.empty_like(x).bernoulli_(p, generator=generator)


def _fill(x: Tensor, value: Any) -> Tensor:
    return x.clone().fill_(value)


def _unpooled(x: Tensor, indices: Tensor, size: list[int], *windows: Any) -> Tensor:
    lead, n = tuple(x.shape[: -len(size)]), len(size)
    flat = x.new_zeros(*lead, prod(size)).scatter(-1, indices.flatten(-n), x.flatten(-n))
    return flat.reshape(*lead, *size)


def _unique(function: Callable) -> Callable:
    """All results, those that are not asked for without elements."""

    def run(x: Tensor, inverse: bool, counts: bool, **settings: Any) -> tuple:
        inverse, counts = (True, True) if settings.get("dim") is not None else (inverse, counts)
        found = function(x, return_inverse=inverse, return_counts=counts, **settings)
        rest = list(found) if inverse or counts else [found]
        empty = x.new_empty(0, dtype=dtypes.int64)
        return rest.pop(0), rest.pop(0) if inverse else empty, rest.pop(0) if counts else empty

    return run


def _unique2(x: Tensor, sorted: bool = True, inverse: bool = False, counts: bool = False) -> tuple:
    return _unique(flambeau.unique)(x, inverse, counts, sorted=sorted)


def _unique_consecutive(x: Tensor, inverse: bool = False, counts: bool = False, dim: int | None = None) -> tuple:
    return _unique(flambeau.unique_consecutive)(x, inverse, counts, dim=dim)


def _unique_dim(x: Tensor, dim: int, sorted: bool = True, inverse: bool = False, counts: bool = False) -> tuple:
    return _unique(flambeau.unique)(x, inverse, counts, sorted=sorted, dim=dim)


def _with_indices(function: Callable) -> Callable:
    return lambda x, size: function(x, size, return_indices=True)


def _fractional(function: Callable) -> Callable:
    return lambda x, kernel, size, samples: function(x, kernel, output_size=size, return_indices=True, _random_samples=samples)


def _convolution_backward(g: Tensor, x: Tensor, w: Tensor, bias_sizes: list[int] | None, stride: list[int], padding: list[int], dilation: list[int],
                          transposed: bool, output_padding: list[int], groups: int, mask: list[bool]) -> tuple:  # fmt: skip
    """The gradients of the input, the weight and the bias; ``None`` for those that nobody asks for."""
    pads = tuple((p, p) for p in padding)
    settings = tuple(stride), pads, tuple(dilation), groups
    of_input = _convolution if transposed else _convolution_input
    first, second = (g, x) if transposed else (x, g)
    return (
        of_input(g, w, None, *settings, tuple(x.shape[2:])) if mask[0] else None,
        _convolution_weight(first, second, *settings, tuple(w.shape[2:])) if mask[1] else None,
        g.sum([0, *range(2, g.dim())]) if mask[2] else None,
    )


def _each(function: Callable) -> Callable:
    """A function that programs give tensors one by one."""
    return lambda tensors, **settings: function(*tensors, **settings)


def _amax(function: Callable) -> Callable:
    return lambda x, dim=(), keepdim=False: function(x, tuple(dim), keepdim)


def _of_size(function: Callable) -> Callable:
    """A function that makes tensors, of a size in a list."""

    def make(size: list[int], *args: Any, **settings: Any) -> Tensor:
        return function(tuple(size), *args, **{k: v for k, v in settings.items() if v is not None})

    return make


def _like(function: Callable) -> Callable:
    def make(x: Tensor, *args: Any, **settings: Any) -> Tensor:
        return function(x, *args, **{k: v for k, v in settings.items() if v is not None})

    return make


def _arange(*bounds: Any, **settings: Any) -> Tensor:
    return flambeau.arange(*bounds, **{k: v for k, v in settings.items() if v is not None})


def _new(name: str) -> Callable:
    def make(x: Tensor, size: list[int], *args: Any, **settings: Any) -> Tensor:
        return getattr(x, name)(tuple(size), *args, **{k: v for k, v in settings.items() if v is not None})

    return make


def _of_sparse(name: str) -> Callable:
    """A method of sparse tensors."""
    return lambda x, *args, **kwargs: getattr(x, name)(*args, **{k: v for k, v in kwargs.items() if v is not None})


_SPARSE: dict[str, Callable] = {
    **{n: _of_sparse(n) for n in ("_nnz", "_values", "_indices", "values", "indices", "coalesce", "is_coalesced", "sparse_dim", "dense_dim", "crow_indices", "col_indices",
                                  "to_dense", "to_sparse", "to_sparse_csr", "to_sparse_csc", "sparse_mask")},
    "_coalesce": _of_sparse("coalesce"), "_to_dense": _of_sparse("to_dense"), "_to_sparse": _of_sparse("to_sparse"),
    "_sparse_mm": lambda a, b: flambeau.sparse.mm(a, b), "_sparse_addmm": lambda x, a, b, **k: flambeau.sparse.addmm(x, a, b, **k),
    "_sparse_sum": lambda x, dim=None: flambeau.sparse.sum(x, dim), "_sparse_softmax": lambda x, dim, half: flambeau.sparse.softmax(x, dim),
    "_sparse_log_softmax": lambda x, dim, half: flambeau.sparse.log_softmax(x, dim), "_pin_memory": lambda x, device=None: x.pin_memory(),
    "is_pinned": lambda x, device=None: x.is_pinned(),
}  # fmt: skip
_OWN: dict[str, Callable] = {
    **_SPARSE,
    "native_layer_norm": _native_layer_norm, "native_group_norm": _native_group_norm, "native_batch_norm": _native_batch_norm,
    "_native_batch_norm_legit": _native_batch_norm, "_batch_norm_with_update": _batch_norm_with_update, "_safe_softmax": _safe_softmax, "_softmax": _softmax(flambeau.softmax), "_log_softmax": _softmax(flambeau.log_softmax),
    "_to_copy": _to_copy, "native_dropout": _native_dropout, "nll_loss_forward": _nll_loss_forward, "nll_loss2d_forward": _nll_loss_forward,
    "_native_batch_norm_legit_no_training": lambda x, w, b, m, v, momentum, eps: _native_batch_norm(x, w, b, m, v, False, momentum, eps),
    "log_sigmoid_forward": _log_sigmoid_forward, "_unsafe_view": lambda x, size: x.reshape(size), "_reshape_alias": lambda x, size, stride: x.view(size),
    "_local_scalar_dense": lambda x: x.item(), "sym_size": lambda x, d=None: x.size(d) if d is not None else list(x.size()),
    "sym_numel": lambda x: x.numel(), "sym_stride": lambda x, d=None: x.stride(d) if d is not None else list(x.stride()),
    "sym_storage_offset": lambda x: x.storage_offset(), "_adaptive_avg_pool2d": F.adaptive_avg_pool2d, "_adaptive_avg_pool3d": F.adaptive_avg_pool3d,
    "bernoulli": _bernoulli, "convolution_backward": _convolution_backward, "fill": _fill, "_prelu_kernel": lambda x, w: flambeau.where(x > 0, x, w * x), "grid_sampler_2d": lambda x, g, mode, pad, corners: F.grid_sample(x, g, ("bilinear", "nearest", "bicubic")[mode], ("zeros", "border", "reflection")[pad], corners),
    "lift": lambda x: x, "_conj": lambda x: x.conj(), "_conj_physical": lambda x: x.conj_physical(), "amax": _amax(flambeau.amax), "amin": _amax(flambeau.amin),
    "unfold": lambda x, *window: x.unfold(*window), "unique_consecutive": _unique_consecutive, "_unique2": _unique2, "unique_dim": _unique_dim,
    "max_unpool2d": _unpooled, "max_unpool3d": _unpooled, "adaptive_max_pool2d": _with_indices(F.adaptive_max_pool2d),
    "adaptive_max_pool3d": _with_indices(F.adaptive_max_pool3d), "fractional_max_pool2d": _fractional(F.fractional_max_pool2d),
    "fractional_max_pool3d": _fractional(F.fractional_max_pool3d), "block_diag": _each(flambeau.block_diag),
    "cartesian_prod": _each(flambeau.cartesian_prod), "meshgrid": _each(flambeau.meshgrid), "broadcast_tensors": _each(flambeau.broadcast_tensors),
    "einsum": lambda equation, tensors, **k: flambeau.einsum(equation, *tensors),
    **UPSAMPLING, **BACKWARD, "view": lambda x, to: x.view(to), "size": lambda x, d=None: x.size(d) if d is not None else list(x.size()),
    "_cdist_forward": lambda a, b, p, mode=None: flambeau.cdist(a, b, p), "_assert_async": lambda x, *a: flambeau._assert_async(x, *a),
    "full": lambda size, value, **k: _of_size(flambeau.full)(size, value, **k), "arange": _arange, "linspace": _like(flambeau.linspace),
    "new_full": lambda x, size, value, **k: _new("new_full")(x, size, value, **k), "full_like": _like(flambeau.full_like),
    "scalar_tensor": lambda v, **k: flambeau.tensor(v, dtype=k.get("dtype") or flambeau.get_default_dtype(), device=k.get("device")),
    "randperm": lambda n, **k: flambeau.randperm(n, **{a: b for a, b in k.items() if b is not None}),
    "eye": lambda *n, **k: flambeau.eye(*n, **{a: b for a, b in k.items() if b is not None}),
}  # fmt: skip
for _name in ("zeros", "ones", "empty", "rand", "randn"):
    _OWN[_name] = _of_size(getattr(flambeau, _name))
for _name in ("zeros_like", "ones_like", "empty_like", "rand_like", "randn_like"):
    _OWN[_name] = _like(getattr(flambeau, _name))
for _name in ("new_zeros", "new_ones", "new_empty"):
    _OWN[_name] = _new(_name)


def _later(name: str) -> Callable:
    """A function of ``torch`` itself that is imported with its first use."""
    return lambda *args, **kwargs: getattr(flambeau, name)(*args, **kwargs)


for _name in ("_int_mm", "_weight_int8pack_mm", "_weight_int4pack_mm_for_cpu", "_convert_weight_to_int4pack_for_cpu", "_make_per_tensor_quantized_tensor",
              "_make_per_channel_quantized_tensor", "_empty_affine_quantized"):  # fmt: skip
    _OWN[_name] = _later(_name)


def _unknown(name: str) -> NotImplementedError:
    return NotImplementedError(
        f"Could not run 'aten::{name}' with arguments from the 'CPU' backend: flambeau has no function for this operator"
    )


def _function(name: str) -> Callable:
    """What does the work of an operator.

    Raises:
        NotImplementedError: flambeau has no function for it.
    """
    if name in _OWN:
        return _OWN[name]
    if name.startswith("_") and not name.startswith("__") and name not in ("_convolution",):
        raise _unknown(name)  # what is called so here may be another
    try:
        found = find_operator(f"ops.aten.{name}")
    except RuntimeError:
        raise _unknown(name) from None

    def call(*args: Any, **kwargs: Any) -> Any:
        if "memory_format" in kwargs:
            kwargs["memory_format"] = _FORMATS.get(kwargs["memory_format"], kwargs["memory_format"])
        return found(*args, **kwargs)

    return call


def _kernel(name: str, written: list[str]) -> Callable:
    """The kernel of an overload; ``written``: the keyword arguments that its results are written into."""
    made: list[Callable] = []

    def kernel(*args: Any, **kwargs: Any) -> Any:
        if not made:
            made.append(_function(name))
        outs = [kwargs.pop(key) for key in written]
        result = made[0](*args, **kwargs)
        if not outs:
            return tuple(result) if isinstance(result, tuple) else result
        for out, value in zip(outs, result if len(outs) > 1 else [result], strict=True):
            if out.shape != value.shape:
                out.resize_(value.shape)
            out.copy_(value)
        return outs[0] if len(outs) == 1 else tuple(outs)

    return kernel


class _Packets(dict):
    """The packets of the namespace by name, each made when it is first asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        for line in (Path(__file__).parent / "aten.txt").read_text(encoding="utf-8").splitlines():
            self.texts.setdefault(line.partition("(")[0].partition(".")[0], []).append(line)

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self and name in self.texts:
            packet = self[name] = OpOverloadPacket("aten", name)
            for text in self.texts[name]:
                schema = parse_schema(text, "aten")
                for a in schema.arguments[1:]:
                    if isinstance(a.type, TensorType) and not a.is_write:
                        a.type = NumberOrTensor
                overload = OpOverload(packet, schema)
                overload.kernels["CompositeImplicitAutograd"] = _kernel(name, [a.name for a in schema.arguments if a.is_out])
                packet._overloads[overload._overloadname] = overload
        return super().get(name, default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        found = self.get(name)
        return super().setdefault(name, default) if found is None else found

    def __iter__(self) -> Iterator[str]:
        return iter({**self.texts, **dict.fromkeys(super().keys())})

    def values(self) -> Any:
        return [self.get(name) for name in self]


def define() -> None:
    """Makes the namespace known."""
    operators.namespaces["aten"] = _Packets()
