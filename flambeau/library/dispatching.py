"""``__torch_dispatch__`` of modes: who is told which of ATen's operators a program comes to, those of backward passes included.

While a mode is on, an observer sees the calls of ops. What PyTorch has a kernel for goes to the innermost mode, as the overload
that fits; what PyTorch makes of other operators is taken apart as there, or run, so that its own calls are seen. A call comes to
modes above the tape, not below it: tensors are those of the program, and what a mode returns takes its place. Gradients are
computed by flambeau's rules, so a backward pass comes to the operators of these.

Source: https://docs.pytorch.org/docs/stable/notes/extending.html#extending-all-torch-api-with-modes
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.memory_format import contiguous_format
from flambeau.library import operators
from flambeau.library.operators import OpOverload
from flambeau.library.schema_types import NumberOrTensor
from flambeau.ops.record import Op
from flambeau.ops.spelling import respelled
from flambeau.tensor import Tensor
from flambeau.tensor.observing import Observer

A: Any = operators.ops.namespace("aten")
_IMPLICIT = frozenset((Path(__file__).parent / "implicit.txt").read_text(encoding="utf-8").split())
"""The operators that PyTorch makes of others."""
_WITH_NUMBERS = frozenset(["add", "sub", "mul", "div"])
"""Those to whose tensors PyTorch's Python makes numbers; others have an overload for them."""
_RUN = frozenset(["norm"])
"""Those that are seen by what they call, though ATen has an operator of the name."""


class _Stack(threading.local):
    modes: tuple = ()


stack = _Stack()


def ask(overload: OpOverload, args: list, kwargs: dict[str, Any]) -> Any:
    """What the innermost mode makes of a call with bound arguments; in the meantime it is off."""
    given, named = overload._schema.without_defaults(args, kwargs)
    before = stack.modes
    mode, stack.modes = before[-1], before[:-1]
    rule = overload.rules.get(type(mode))
    try:
        if rule is not None:
            return rule(mode, overload, (), tuple(given), named)
        return mode.__torch_dispatch__(overload, (), tuple(given), named)
    finally:
        stack.modes = before


def _observe(overload: OpOverload, args: list, kwargs: dict[str, Any], run: Callable) -> Any:
    """A call of an operator by its name in ``torch.ops``."""
    return ask(overload, args, kwargs) if stack.modes else run(args, kwargs)


# --- which overload ----------------------------------------------------------------------------------------------


def _name_of(op: Op) -> str:
    space, _, short = op.name.rpartition(".")
    return f"{space}_{short}" if space in ("linalg", "special", "fft") else short


def _overloads(name: str, args: tuple) -> Iterator[OpOverload]:
    """Those of an operator that write into no ``out``: first those that take numbers as numbers."""
    packet = operators.find_packet(f"aten::{name}", missing=None)
    found = [] if packet is None else [o for o in packet._overloads.values() if not any(a.is_out for a in o._schema.arguments)]
    for overload in found:
        pairs = zip(overload._schema.positional, args, strict=False)
        if name.rstrip("_") in _WITH_NUMBERS or all(
            a.type is not NumberOrTensor or isinstance(value, Tensor) or value is None for a, value in pairs
        ):
            yield overload
    yield from found


def overload_of(
    op: Op, args: tuple, kwargs: dict[str, Any], name: str | None = None
) -> tuple[OpOverload, list, dict[str, Any]] | None:
    """The overload for a call of ``op`` and its arguments; ``None`` where PyTorch has no such operator, or makes it of others."""
    name = name or _name_of(op)
    if name in _IMPLICIT or name in _RUN or name.startswith("_"):
        return None
    code = op.check.__code__
    if code.co_flags & 0x04 and len(args) > code.co_argcount:  # sizes one by one
        rest = args[code.co_argcount :]
        args = (*args[: code.co_argcount], tuple(rest[0]) if len(rest) == 1 and isinstance(rest[0], (tuple, list)) else rest)
    for overload in _overloads(name, args):
        names = tuple([a.name for a in overload._schema.arguments])
        named = {
            ("self" if k == "input" and "self" in names else k): v for k, v in respelled(names, kwargs).items() if v is not None
        }
        try:
            bound, settings = overload._schema.bind(args, named)
        except RuntimeError:
            continue
        return overload, bound, settings
    return None


def apart(op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What a call is in terms of the operators that PyTorch makes it of; ``NotImplemented`` where it is one itself."""
    parts = _APART.get(op.name)
    return NotImplemented if parts is None else parts(*args, **kwargs)


class Dispatching(Observer):
    """Fills ``dispatch.watch``, and sees writes in place, while a mode is on in some thread."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self._lock = threading.Lock()
        self._inplace: Callable = dispatch.inplace

    def push(self, mode: Any) -> None:
        stack.modes = (*stack.modes, mode)
        with self._lock:
            self._count += 1
            if self._count == 1:
                self.open()
                operators.observers.append(_observe)
                self._inplace, dispatch.inplace = dispatch.inplace, self._in_place

    def pop(self) -> None:
        stack.modes = stack.modes[:-1]
        with self._lock:
            self._count -= 1
            if not self._count:
                self.close()
                operators.observers.remove(_observe)
                dispatch.inplace = self._inplace

    def called(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        if not stack.modes:
            return self.run(op, args, kwargs)
        result = apart(op, args, kwargs)
        if result is not NotImplemented:
            return result
        found = overload_of(op, args, kwargs)
        return self.run(op, args, kwargs) if found is None else ask(*found)

    def _in_place(self, function: Callable, input: Tensor, args: tuple, kwargs: dict[str, Any]) -> Any:
        op = function.op  # type: ignore[attr-defined]
        found = overload_of(op, (input, *args), kwargs, op.short_name + "_") if stack.modes else None
        return self._inplace(function, input, args, kwargs) if found is None else ask(*found)


dispatching = Dispatching()


# --- what PyTorch makes of other operators, as there ---------------------------------------------------------------


def _linear(input: Tensor, weight: Tensor, bias: Any = None) -> Any:
    if input.dim() == 2:
        turned = A.t.default(weight)
        return A.mm.default(input, turned) if bias is None else A.addmm.default(bias, input, turned)
    if input.dim() < 2 or weight.dim() != 2:
        return NotImplemented
    size = [*input.shape[:-1], weight.shape[0]]
    if bias is None:
        turned, rows = A.t.default(weight), A.view.default(input, [prod(input.shape[:-1]), input.shape[-1]])
        return A._unsafe_view.default(A.mm.default(rows, turned), size)
    rows, turned = A.view.default(input, [prod(input.shape[:-1]), input.shape[-1]]), A.t.default(weight)
    return A.view.default(A.addmm.default(bias, rows, turned), size)


def matmul(input: Tensor, other: Tensor) -> Any:
    n, m = input.dim(), other.dim()
    if (n, m) in ((1, 1), (2, 1), (2, 2)):
        return (A.dot if n == 1 else A.mv if m == 1 else A.mm).default(input, other)
    if n > 2 and m == 2:
        rows = A.view.default(input.contiguous(), [prod(input.shape[:-1]), input.shape[-1]])
        return A._unsafe_view.default(A.mm.default(rows, other), [*input.shape[:-1], other.shape[-1]])
    if n > 2 and m > 2 and input.shape[:-2] == other.shape[:-2]:
        batch = list(input.shape[:-2])
        first, second = [_rows_of(A.expand.default(x, list(x.shape)), [prod(batch), *x.shape[-2:]]) for x in (input, other)]
        return A._unsafe_view.default(A.bmm.default(first, second), [*batch, input.shape[-2], other.shape[-1]])
    return NotImplemented


def _rows_of(input: Tensor, size: list[int]) -> Tensor:
    return A.view.default(input, size) if input.dim() == len(size) else _reshape(input, size)


def _listed(value: Any, n: int) -> list[int]:
    return [value] * n if isinstance(value, int) else list(value) * (n if len(value) == 1 else 1)


def _convolved(n: int) -> Callable:
    def conv(
        input: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> Any:
        if isinstance(padding, str) or input.dim() != n + 2:
            return NotImplemented
        return A.convolution.default(
            input, weight, bias, _listed(stride, n), _listed(padding, n), _listed(dilation, n), False, [0] * n, groups
        )

    return conv


def _convolved_back(n: int) -> Callable:
    def conv(
        input: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1
    ) -> Any:  # fmt: skip
        if input.dim() != n + 2:
            return NotImplemented
        sizes = [_listed(value, n) for value in (stride, padding, dilation)]
        return A.convolution.default(input, weight, bias, *sizes, True, _listed(output_padding, n), groups)

    return conv


def _softmax(name: str) -> Callable:
    def softmax(input: Tensor, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
        if dim is None:
            return NotImplemented
        cast = input if dtype is None or dtype is input.dtype else A._to_copy.default(input, dtype=dtype)
        return getattr(A, name).default(cast, dim, False)

    return softmax


def _layer_norm(input: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return A.native_layer_norm.default(input, list(normalized_shape), weight, bias, eps)[0]


def _group_norm(input: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    n, c, *rest = input.shape
    return A.native_group_norm.default(input, weight, bias, n, c, prod(rest), num_groups, eps)[0]


def _batch_norm(
    input: Tensor, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5
) -> Any:  # fmt: skip
    return A.native_batch_norm.default(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


def _cross_entropy(
    input: Tensor, target: Tensor, weight: Any = None, size_average: Any = None, ignore_index: int = -100, reduce: Any = None, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    if input.dim() != 2 or target.dtype is not dtypes.int64 or label_smoothing or size_average is not None or reduce is not None:
        return NotImplemented
    scores = A._log_softmax.default(input, 1, False)
    return A.nll_loss_forward.default(scores, target, weight, ("none", "mean", "sum").index(reduction), ignore_index)[0]


def _loss(name: str) -> Callable:
    def loss(
        input: Tensor,
        target: Tensor,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        *rest: Any,
        **more: Any,
    ) -> Any:
        if (
            rest
            or more
            or size_average is not None
            or reduce is not None
            or reduction not in ("none", "mean", "sum")
            or input.shape != target.shape
        ):
            return NotImplemented
        return getattr(A, name).default(input, target, ("none", "mean", "sum").index(reduction))

    return loss


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if not training or not 0 < p < 1 or inplace:
        return NotImplemented
    noise = A.bernoulli_.float(A.empty_like.default(input), 1 - p)
    return A.mul.Tensor(input, A.div_.Scalar(noise, 1 - p))


def _embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: Any = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Any:  # fmt: skip
    if max_norm is not None or sparse:
        return NotImplemented
    return A.embedding.default(weight, input, -1 if padding_idx is None else padding_idx % weight.shape[0], scale_grad_by_freq)


def _adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Any:
    size = _listed(output_size, 2)
    return (
        NotImplemented
        if None in size
        else A.mean.dim(input, [-1, -2], True)
        if size == [1, 1]
        else A._adaptive_avg_pool2d.default(input, size)
    )


def _max_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False
) -> Any:  # fmt: skip
    sizes = [_listed(kernel_size, 2), [] if stride is None else _listed(stride, 2), _listed(padding, 2), _listed(dilation, 2)]
    found = A.max_pool2d_with_indices.default(input, *sizes, ceil_mode)
    return found if return_indices else found[0]


def _reshape(input: Tensor, *shape: Any) -> Any:
    size = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else list(shape)
    if input.is_contiguous():
        return A.view.default(input, size)
    return A._unsafe_view.default(A.clone.default(input), size)


def _slice(input: Tensor, dim: int, start: int | None, stop: int | None, step: int | None) -> Any:
    return A.slice.Tensor(input, dim, 0 if start is None else start, _END if stop is None else stop, 1 if step is None else step)


_END = 2**63 - 1
_APART: dict[str, Callable] = {
    "_to_dtype": lambda input, dtype: A._to_copy.default(input, dtype=dtype), "_slice": _slice, "_index": lambda input, indices: A.index.Tensor(input, list(indices)),
    "_clone": lambda input: A.clone.default(input, memory_format=contiguous_format), "_where_active": lambda g, out: A.threshold_backward.default(g, out, 0),
    "nn.functional.linear": _linear, "matmul": matmul, "nn.functional.softmax": _softmax("_softmax"), "softmax": _softmax("_softmax"),
    "nn.functional.log_softmax": _softmax("_log_softmax"), "log_softmax": _softmax("_log_softmax"), "nn.functional.layer_norm": _layer_norm,
    "nn.functional.group_norm": _group_norm, "nn.functional.batch_norm": _batch_norm, "nn.functional.cross_entropy": _cross_entropy,
    "nn.functional.dropout": _dropout, "nn.functional.embedding": _embedding, "nn.functional.adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "nn.functional.max_pool2d": _max_pool2d, "reshape": _reshape, "Tensor.reshape": _reshape, "nn.functional.mse_loss": _loss("mse_loss"),
    **{f"nn.functional.conv{n}d": _convolved(n) for n in (1, 2, 3)}, **{f"nn.functional.conv_transpose{n}d": _convolved_back(n) for n in (1, 2, 3)},
}  # fmt: skip
