"""``torch.utils.flop_counter``: how many floating-point operations a program's matrix products and convolutions take.

Calls of primitives are observed while the mode is on (see ``dispatch.watch``), those of backward passes too, and what PyTorch calls
an operation of ATen is counted by the formula that :data:`flop_registry` has for it. Kernels of flambeau that are several
operations of PyTorch's count as these.

Source: https://github.com/pytorch/pytorch/blob/main/torch/utils/flop_counter.py (behaviour)
"""

from __future__ import annotations

import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from math import prod
from typing import Any, NamedTuple

from flambeau.core import dtypes
from flambeau.core.size import broadcast_shapes
from flambeau.library import operators
from flambeau.library.operators import OpOverload, OpOverloadPacket, find_packet
from flambeau.ops.record import Op
from flambeau.tensor import Tensor
from flambeau.tensor.observing import Observer
from flambeau.utils._pytree import tree_map
from flambeau.utils.module_tracker import ModuleTracker

__all__ = ["FlopCounterMode", "register_flop_formula"]

flop_registry: dict[Any, Callable] = {}
"""The formula of each operator: what :func:`register_flop_formula` was told."""


def get_shape(x: Any) -> Any:
    """The shape of a tensor; anything else as it is."""
    return x.shape if isinstance(x, Tensor) else x


def shape_wrapper(formula: Callable) -> Callable:
    """A formula of shapes as one of tensors."""

    @wraps(formula)
    def of_tensors(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
        args, kwargs, shape = tree_map(get_shape, (args, kwargs, out_val))
        return formula(*args, out_shape=shape, **kwargs)

    return of_tensors


def register_flop_formula(targets: Any, get_raw: bool = False) -> Callable[[Callable], Callable]:
    """Decorates the formula of an operator, or of several: it is called as they are, with shapes in place of tensors.

    Args:
        targets: one operator, as ``torch.ops.mylib.foo``, or a list of them.
        get_raw: the formula gets the tensors themselves, and the result as ``out_val`` instead of its shape as ``out_shape``.

    >>> import flambeau as torch
    >>> from flambeau.utils.flop_counter import FlopCounterMode, flop_registry
    >>> @register_flop_formula(torch.ops.aten.relu)
    ... def relu_flop(shape, out_shape=None):
    ...     return shape.numel()
    >>> with FlopCounterMode(display=False) as counter:
    ...     y = torch.ones(3, 4).relu()
    >>> counter.get_total_flops()
    12
    >>> del flop_registry[torch.ops.aten.relu]

    Raises:
        ValueError: a target that is no operator.
        RuntimeError: it has a formula.
    """

    def register(formula: Callable) -> Callable:
        if not get_raw:
            formula = shape_wrapper(formula)
        for target in targets if isinstance(targets, (list, tuple)) else [targets]:
            if not isinstance(target, OpOverloadPacket):
                raise ValueError(
                    "register_flop_formula(targets): expected each target to be OpOverloadPacket (i.e. torch.ops.mylib.foo), JitFunction, "
                    f"or HigherOrderOperator, got {target} which is of type {type(target)}"
                )
            if target in flop_registry:
                raise RuntimeError(f"duplicate registrations for {target}")
            flop_registry[target] = formula
        return formula

    return register


# --- formulas ----------------------------------------------------------------------------------------------------


def _aten(name: str) -> Any:
    return find_packet(f"aten::{name}")


@register_flop_formula(_aten("mm"))
def mm_flop(a_shape: Sequence[int], b_shape: Sequence[int], *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """A product and a sum for each of ``k`` factors of each element: ``2 m k n``."""
    (m, k), (_, n) = a_shape, b_shape
    return m * n * 2 * k


@register_flop_formula(_aten("addmm"))
def addmm_flop(self_shape: Any, a_shape: Sequence[int], b_shape: Sequence[int], out_shape: Any = None, **kwargs: Any) -> int:
    """:func:`mm_flop`; the sum is not counted."""
    return mm_flop(a_shape, b_shape)


@register_flop_formula(_aten("bmm"))
def bmm_flop(a_shape: Sequence[int], b_shape: Sequence[int], out_shape: Any = None, **kwargs: Any) -> int:
    """:func:`mm_flop` for each pair of matrices."""
    return a_shape[0] * mm_flop(a_shape[1:], b_shape[1:])


@register_flop_formula(_aten("baddbmm"))
def baddbmm_flop(self_shape: Any, a_shape: Sequence[int], b_shape: Sequence[int], out_shape: Any = None, **kwargs: Any) -> int:
    """:func:`bmm_flop`; the sum is not counted."""
    return bmm_flop(a_shape, b_shape)


def conv_flop_count(x_shape: Sequence[int], w_shape: Sequence[int], out_shape: Sequence[int], transposed: bool = False) -> int:
    """Two for each element of the weight at each place: of the result, or of the input of a transposed convolution."""
    places = (x_shape if transposed else out_shape)[2:]
    return prod(places) * prod(w_shape) * x_shape[0] * 2


@register_flop_formula([_aten("convolution"), _aten("_convolution")])
def conv_flop(x_shape: Any, w_shape: Any, _bias: Any, _stride: Any, _padding: Any, _dilation: Any, transposed: bool, *args: Any,
              out_shape: Any = None, **kwargs: Any) -> int:  # fmt: skip
    """:func:`conv_flop_count`; the bias is not counted."""
    return conv_flop_count(x_shape, w_shape, out_shape, transposed)


@register_flop_formula(_aten("convolution_backward"))
def conv_backward_flop(grad_out_shape: Any, x_shape: Any, w_shape: Any, _bias: Any, _stride: Any, _padding: Any, _dilation: Any, transposed: bool,
                       _output_padding: Any, _groups: Any, output_mask: Sequence[bool], out_shape: Any, **kwargs: Any) -> int:  # fmt: skip
    """Those of the gradients that are asked for, each of which is a convolution itself. As in PyTorch, the weight's is counted as
    if there was one group."""

    def t(shape: Sequence[int]) -> list[int]:
        return [shape[1], shape[0], *shape[2:]]

    count = conv_flop_count(grad_out_shape, w_shape, out_shape[0], not transposed) if output_mask[0] else 0
    if output_mask[1]:
        first, second = (grad_out_shape, x_shape) if transposed else (x_shape, grad_out_shape)
        count += conv_flop_count(t(first), t(second), t(out_shape[1]))
    return count


def sdpa_flop_count(query_shape: Sequence[int], key_shape: Sequence[int], value_shape: Sequence[int]) -> int:
    """The two products of attention; queries may have more heads than keys and values."""
    b, h, s, d = query_shape
    return bmm_flop((b * h, s, d), (b * h, d, key_shape[-2])) + bmm_flop(
        (b * h, s, key_shape[-2]), (b * h, key_shape[-2], value_shape[-1])
    )


# --- what a call is ----------------------------------------------------------------------------------------------


class Operation(NamedTuple):
    """What PyTorch would call an operation: its name, arguments, or shapes in place of tensors, and result."""

    name: str
    args: tuple
    kwargs: dict[str, Any]
    out: Any


def _convolution(transposed: bool, forward: bool, args: tuple, out: Tensor) -> Operation:
    """``args``: of ``_convolution``, or ``_convolution_input`` if ``transposed``. What is not ``forward`` is a gradient."""
    x, w, bias, stride, pads, dilation, groups, _ = args
    padding, no = [p for p, _ in pads], [0] * len(pads)
    if forward:
        return Operation("convolution", (x, w, bias, stride, padding, dilation, transposed, no, groups), {}, out)
    mask = [True, False, False]  # the transpose of one is the gradient of the other
    return Operation(
        "convolution_backward",
        (x, out, w, None, stride, padding, dilation, not transposed, no, groups, mask),
        {},
        (out, None, None),
    )


def _convolution_weight(args: tuple, out: Tensor) -> Operation:
    x, g, stride, pads, dilation, groups, _ = args
    rest = (None, stride, [p for p, _ in pads], dilation, False, [0] * len(pads), groups, [False, True, False])
    return Operation("convolution_backward", (g, x, out, *rest), {}, (None, out, None))


def _bmm(a: Sequence[int], b: Sequence[int]) -> Operation:
    """The product of two batches of matrices of these shapes, which broadcast."""
    batch = broadcast_shapes(tuple(a[:-2]), tuple(b[:-2]))
    n = prod(batch)
    return Operation("bmm", ((n, *a[-2:]), (n, *b[-2:])), {}, (n, a[-2], b[-1]))


def _mm(rows: int, inner: int, columns: int, added: bool = False) -> Operation:
    shapes: tuple = ((rows, inner), (inner, columns))
    return Operation("addmm", ((columns,), *shapes), {}, (rows, columns)) if added else Operation("mm", shapes, {}, (rows, columns))


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Iterator[Operation]:
    (*many, rows, width), columns, out = q.shape, k.shape[-2], v.shape[-1]
    yield _bmm((*many, rows, width), (*many, width, columns))
    yield _bmm((*many, rows, columns), (*many, columns, out))


def _attention_gradient(q: Tensor, k: Tensor, v: Tensor) -> Iterator[Operation]:
    """Two products for each of the two of :func:`_attention`."""
    for a, b in [op.args for op in _attention(q, k, v)]:
        yield _bmm((*a[:-2], a[-2], b[-1]), (*b[:-2], b[-1], b[-2]))
        yield _bmm((*a[:-2], a[-1], a[-2]), (*a[:-2], a[-2], b[-1]))


def _recurrence(args: tuple) -> Iterator[Operation]:
    x, h, _, w_ih, w_hh, bias = args[:6]
    yield _mm(x.shape[0], x.shape[1], w_ih.shape[0], bias is not None)
    yield _mm(x.shape[0], h.shape[1], w_hh.shape[0], bias is not None)


def _recurrence_gradient(args: tuple) -> Iterator[Operation]:
    """The gradients of the weights are products of their own."""
    outputs, h, w_ih, w_hh = args[3], args[6], args[8], args[9]
    rows = outputs.shape[0]
    yield _mm(rows if h.requires_grad else rows - h.shape[0], *w_hh.shape)
    if w_ih is not None:
        yield _mm(rows, *w_ih.shape)


def operations(op: Op, args: tuple, kwargs: dict[str, Any], out: Any, forward: bool) -> list[Operation]:
    """The operations that a call of ``op`` is to PyTorch. ``forward``: of a convolution, that it is called for."""
    name = op.name
    if name in ("_convolution", "_convolution_input"):
        return [_convolution(name == "_convolution_input", forward, args, out)]
    if name == "_convolution_weight":
        return [_convolution_weight(args, out)]
    if name == "aten.matmul":
        return [_bmm(args[0].shape, args[1].shape)]
    if name == "_attention":
        return list(_attention(*args[:3]))
    if name == "_attention_grad":
        return list(_attention_gradient(*args[1:4]))
    if name == "_recurrence":
        return list(_recurrence(args))
    if name == "_recurrence_grad":
        return list(_recurrence_gradient(args))
    return [Operation(op.short_name, args, kwargs, out)]


def _is_one_kernel(op: Op, args: tuple, kwargs: dict[str, Any]) -> bool:
    """Whether PyTorch does a call on a CPU in a kernel that has no formula, where flambeau has products that do. A cell is none."""
    name = op.short_name
    if name == "scaled_dot_product_attention":
        given = dict(zip(("query", "key", "value", "attn_mask", "dropout_p"), args), **kwargs)
        query, mask = given["query"], given.get("attn_mask")
        return (
            query.dim() == 4 and not query.is_meta and not given.get("dropout_p") and not (mask is not None and mask.requires_grad)
        )
    if name == "matmul" and op.form == "composite":
        a, b = args if len(args) == 2 else (args[0], kwargs["other"])
        return a.dim() == 1 and b.dim() > 2
    if name == "_recurrence":
        return args[7] == "LSTM" and len(args[8]) > 1 and args[0].dtype is dtypes.float32 and not args[0].is_meta
    return name in ("bilinear", "cdist", "conv_tbc", "mv", "addmv")


# --- the mode ----------------------------------------------------------------------------------------------------


class _State(threading.local):
    composites = 0
    """Calls of composites on their way: what they call is no rule of the tape's."""
    paused = 0
    """Calls of what counts as one operation."""


class _Observer(Observer):
    """Counts what is called."""

    def __init__(self, count: Callable[[OpOverloadPacket, Any, tuple, dict], None], registry: dict[Any, Callable]) -> None:
        super().__init__()
        self.count, self.registry = count, registry
        self.state = _State()

    def open(self) -> None:
        super().open()
        operators.observers.append(self.operator)

    def close(self) -> None:
        operators.observers.remove(self.operator)
        super().close()

    def called(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        state = self.state
        composed = op.form == "composite"
        packet = None if state.paused else find_packet(f"aten::{op.short_name}", None)
        known = packet in self.registry
        whole = composed and known and op.short_name != "convolution"
        quiet = whole or state.paused or _is_one_kernel(op, args, kwargs)
        given = dict(kwargs)
        state.composites += composed
        state.paused += bool(quiet)
        try:
            result = self.run(op, args, kwargs)
        finally:
            state.composites -= composed
            state.paused -= bool(quiet)
        if quiet and not composed:
            self._pause_gradient(result)
        if whole and packet is not None:
            self.count(packet, result, args, given)
        elif not composed and not state.paused and not (quiet and not known):
            for done in operations(op, args, given, result, bool(state.composites)):
                packet = find_packet(f"aten::{done.name}", None)
                if packet in self.registry:
                    self.count(packet, done.out, done.args, done.kwargs)
        return result

    def _pause_gradient(self, result: Any) -> None:
        """The gradient of what counts as one operation is one too."""
        for r in result if isinstance(result, (tuple, list)) else [result]:
            entry = r.grad_fn if isinstance(r, Tensor) else None
            if entry is not None:
                entry.register_prehook(self._pause)
                entry.register_hook(self._resume)
                return

    def _pause(self, grads: Any) -> None:
        self.state.paused += 1

    def _resume(self, results: Any, grads: Any) -> None:
        self.state.paused -= 1

    def operator(self, overload: OpOverload, args: Sequence, kwargs: dict[str, Any], run: Callable) -> Any:
        """The call of an operator of a library: one operation, unless it is made of others."""
        packet = overload._overloadpacket
        known = packet in self.registry
        if overload.namespace == "aten" or self.state.paused or not known and "CompositeImplicitAutograd" in overload.kernels:
            return run(args, kwargs)
        self.state.paused += 1
        try:
            result = run(args, kwargs)
        finally:
            self.state.paused -= 1
        if known:
            self.count(packet, result, tuple(args), kwargs)
        return result


class FlopCounterMode:
    """While it is on, counts the floating-point operations of matrix products and convolutions, by module and operator.

    Args:
        mods: not needed any more.
        depth: of the modules that the table shows.
        display: whether to print the table in the end.
        custom_mapping: formulas for further operators, or instead of those in :data:`flop_registry`; ``_get_raw = True`` on one
            has it called with tensors.

    Counts are PyTorch's on a CPU: there attention and LSTMs in one kernel, products of a matrix and a vector, and everything
    elementwise count nothing. Unlike there, in-place products count, and so do ``addbmm`` and the inference of
    ``TransformerEncoderLayer``, which are other operators of PyTorch's. What a module does in a backward pass counts as its own if
    its results need a gradient.

    >>> import flambeau as torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> with FlopCounterMode(display=False) as counter:
    ...     net(torch.ones(5, 3)).sum().backward()
    >>> counter.get_total_flops()
    480
    >>> {str(operator): n for operator, n in counter.get_flop_counts()["Sequential.0"].items()}
    {'aten.addmm': 120, 'aten.mm': 120}

    Source: https://github.com/pytorch/pytorch/blob/main/torch/utils/flop_counter.py (behaviour)
    """

    def __init__(
        self, mods: Any = None, depth: int = 2, display: bool = True, custom_mapping: dict[Any, Callable] | None = None
    ) -> None:
        if mods is not None:
            warnings.warn("mods argument is not needed anymore, you can stop passing it", stacklevel=2)
        self.flop_counts: dict[str, dict[Any, int]] = defaultdict(lambda: defaultdict(int))
        self.depth, self.display = depth, display
        own = {k: v if getattr(v, "_get_raw", False) else shape_wrapper(v) for k, v in (custom_mapping or {}).items()}
        self.flop_registry = {**flop_registry, **own}
        self.mod_tracker = ModuleTracker()
        self._observer: _Observer | None = None

    def get_total_flops(self) -> int:
        """All that was counted."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        """By the name of the module, ``"Global"`` for everything, and then by operator."""
        return {k: dict(v) for k, v in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The counts as text; of modules down to ``depth``."""
        depth = self.depth if depth is None else depth
        total = self.get_total_flops()
        suffix = _suffix(total)
        subsumed = False  # whether one module has everything

        def rows_of(name: str, indent: str) -> list[list[str]]:
            nonlocal subsumed
            counts = self.flop_counts[name]
            sums = sum(counts.values())
            subsumed = subsumed or sums >= total
            lines = [(name, sums), *[(f" - {k}", v) for k, v in counts.items()]]
            return [[indent + text, _scaled(n, suffix), f"{n / total:.2%}" if total else "0%"] for text, n in lines]

        rows: list[list[str]] = []
        for name in sorted(self.flop_counts):
            level = name.count(".")
            if name != "Global" and (depth is None or level < depth):
                rows += rows_of(name, " " * level)
        if "Global" in self.flop_counts and not subsumed:
            rows = rows_of("Global", "") + [[" " + first, *rest] for first, *rest in rows]
        return _table(rows or [["Global", "0", "0%"]])

    def __enter__(self) -> FlopCounterMode:
        self.flop_counts.clear()
        self.mod_tracker.__enter__()
        self._observer = _Observer(self._count, self.flop_registry)
        self._observer.open()
        return self

    def __exit__(self, *exc: Any) -> None:
        assert self._observer is not None
        self._observer.close()
        self._observer = None
        self.mod_tracker.__exit__(*exc)
        if self.display:
            print(self.get_table(self.depth))

    def _count(self, packet: OpOverloadPacket, out: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        count = self.flop_registry[packet](*args, **kwargs, out_val=out)
        for name in self.mod_tracker.parents:
            self.flop_counts[name][packet] += count


_SUFFIXES = ["", "K", "M", "B", "T"]


def _suffix(number: int) -> int:
    """The number of the suffix that leaves one to three digits before the point."""
    return max(0, min(len(_SUFFIXES) - 1, (len(str(number)) - 2) // 3))


def _scaled(number: int, suffix: int) -> str:
    return f"{number / 1000**suffix:.3f}{_SUFFIXES[suffix]}" if suffix else f"{number:g}"


def _table(rows: list[list[str]]) -> str:
    header = ["Module", "FLOP", "% Total"]
    widths = [max([len(h) + 2, *[len(row[i]) for row in rows]]) for i, h in enumerate(header)]
    lines = [header, ["-" * w for w in widths], *rows]
    return "\n".join(
        "  ".join((cell.ljust if i == 0 else cell.rjust)(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    )
