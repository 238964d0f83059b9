"""The tape's entries of ops: what they keep, and how gradients are made of it."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from copy import copy
from typing import Any

from flambeau import dispatch
from flambeau.autograd.anomaly import anomaly, remember
from flambeau.autograd.graph import Node, accumulator, edge_of, meta_of, next_sequence, zeros_for
from flambeau.autograd.saving import SECOND_TIME, Saved, saving_hooks
from flambeau.core import dtypes
from flambeau.dispatch import grad_mode
from flambeau.engine.trace import exact
from flambeau.tensor.reading import WINDOW
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor, make_tensor

_new = object.__new__


class Rules:
    """How the gradients of an op are made: the functions, and where the values of their arguments come from."""

    def __init__(self, op) -> None:
        plain = [t.lstrip("*") for t in op.tensors]
        self.op = op
        self.joint = op.grads.get("*")
        self.single = {plain.index(k): f for k, f in op.grads.items() if k != "*"}
        self.arguments = {f: f.__code__.co_varnames[: f.__code__.co_argcount] for f in op.grads.values()}
        self.listed = next((i for i, t in enumerate(op.tensors) if t.startswith("*")), len(op.tensors))
        self.overloads: dict[int | str, type] = {}
        self.forms: dict[tuple, Form] = {}
        self._captures: dict[int, list] = {}

    def captures(self, wanted: int) -> list | None:
        """What to save, as ``(name, source, index)``, where the inputs in the bit mask ``wanted`` need gradients.

        ``None`` where no gradient flows to any of them.
        """
        try:
            return self._captures[wanted]
        except KeyError:
            functions = [self.joint] if self.joint else [f for i, f in self.single.items() if wanted >> i & 1]
            names = dict.fromkeys(n for f in functions for n in self.arguments[f] if n not in ("g", "gs", "needs"))
            found = [(name, *self._source(name)) for name in names] if functions else None
            self._captures[wanted] = found  # type: ignore[assignment]
            return found

    def shown(self, inputs: tuple) -> tuple[int, ...]:
        """Which inputs have a place among ``next_functions``: what PyTorch's op takes as tensors and has a derivative for."""
        op, last = self.op, self.listed
        tensors = [isinstance(x, Tensor) for x in inputs]
        if self.joint is not None:
            return tuple([
                i for i, x in enumerate(inputs)
                if (x is None or tensors[i] and x._dtype.kind >= dtypes.FLOATING)
                and (i >= last or op.tensors[i] not in op.nondifferentiable)
            ])  # fmt: skip
        optional = any(tensors[1:])  # what is None is a tensor that is missing, and not a number
        return tuple([
            i for i, x in enumerate(inputs)
            if min(i, last) in self.single and (op.wraps or tensors[i] or x is None and optional)
        ])  # fmt: skip

    def _source(self, name: str) -> tuple[str, int]:
        op = self.op
        plain = [t.lstrip("*") for t in op.tensors]
        if name in plain:
            i = plain.index(name)
            return ("inputs" if op.tensors[i].startswith("*") else "input", i)
        if name == "out":
            return ("output", 0)
        if name in op.outputs:
            return ("output", op.outputs.index(name))
        for suffix in ("_shape", "_dtype"):
            if name.endswith(suffix) and name[: -len(suffix)] in plain:
                return (suffix[1:], plain.index(name[: -len(suffix)]))
        return ("attr", 0)


class Form:
    """What the tape's entries of one op's calls have in common whose tensors differ in shape alone.

    ``shown``  the inputs that have a place among ``next_functions``
    ``saves``  what to save, as (name, :data:`TENSOR` and its like, index)
    ``calls``  for each input that needs a gradient its number, the function that makes it, and which of the values
               ``(gradient, gradients, needs, *constants, *kept)`` the function takes; ``joint`` is one function for all
    ``names``  of the constants
    ``lists``  whether a list of tensors is saved; ``holds`` whether anything is that should not stay longer than it must
    ``single``  whether what the rule records depends on the layout of one gradient alone
    """

    __slots__ = ("calls", "holds", "joint", "lists", "names", "needs", "saves", "several", "shown", "single", "type")

    def __init__(self, type_: type, captures: list, inputs: tuple, edges: list) -> None:
        op, rules = type_.op, type_.op.rules  # type: ignore[attr-defined]
        self.type, self.shown, self.several = type_, rules.shown(inputs), bool(op.outputs)
        self.needs = tuple([e is not None for e in edges])
        self.saves = [(name, _sort(source, inputs[i] if i < len(inputs) else None), i) for name, source, i in captures]
        kept = [(name, sort) for name, sort, _ in self.saves if sort in KEPT]
        sorts = [sort for _, sort in kept]
        self.lists = LIST in sorts
        self.single = not self.several and all([sort in (TENSOR, OUTPUT) for sort in sorts])
        self.holds = any([sort is not NUMBER or op.wraps for sort in sorts])
        self.names = [name for name, sort, _ in self.saves if sort not in KEPT]
        places = {"g": 0, "gs": 1, "needs": 2}
        for name in (*self.names, *[name for name, _ in kept]):
            places[name] = len(places)
        self.calls: list[tuple] = []
        self.joint: tuple | None = None
        if rules.joint is not None:
            self.joint = rules.joint, tuple([places[n] for n in rules.arguments[rules.joint]])
            return
        for i, f in rules.single.items():
            if i < len(self.needs) and self.needs[i]:
                self.calls.append((i, f, tuple([places[n] for n in rules.arguments[f]])))


TENSOR, NUMBER, OUTPUT, LIST, ATTR, SHAPE, DTYPE, NOTHING = (
    "tensor",
    "number",
    "output",
    "list",
    "attr",
    "_shape",
    "_dtype",
    "nothing",
)
"""What an entry saves: an input, a result, all inputs from one on, and constants: a setting, or what is known of an input."""
KEPT = (TENSOR, NUMBER, OUTPUT, LIST)
"""Those that each entry has of its own; the others are its pattern's."""


def _sort(source: str, x: Any) -> str:
    """What is saved from a source (see :meth:`Rules.captures`), where the input is ``x``."""
    is_tensor = isinstance(x, Tensor)
    if source == "input":
        return TENSOR if is_tensor else NOTHING if x is None else NUMBER
    if source in ("shape", "dtype"):
        return (SHAPE if source == "shape" else DTYPE) if is_tensor else NOTHING
    return {"output": OUTPUT, "inputs": LIST, "attr": ATTR}[source]


class Pattern:
    """What the tape's entries of like calls of one op have in common: that of their :class:`Form`, and

    ``kept``   for each value that an entry saves: its name, the number of the input (``-1 - number`` of an output;
               ``None`` for a list of all inputs from one on), and its layout (``None`` of a number)
    ``constants``  the values of the form's names; ``metas``: shapes and dtypes of the results
    ``recorded``  by the layouts of gradients, what the rule has recorded (see autograd/rules.py), or the pass that it first ran in
    """

    __slots__ = (
        "calls",
        "constants",
        "form",
        "holds",
        "joint",
        "kept",
        "lists",
        "metas",
        "names",
        "needs",
        "recorded",
        "several",
        "shown",
        "single",
        "type",
    )

    def __init__(self, form: Form, metas: tuple, constants: list, kept: list[tuple]) -> None:
        self.form, self.metas, self.constants, self.kept = form, metas, constants, kept
        self.type, self.needs, self.shown, self.names = form.type, form.needs, form.shown, form.names
        self.calls, self.joint, self.several = form.calls, form.joint, form.several
        self.lists, self.holds, self.single = form.lists, form.holds, form.single
        self.recorded: dict[Any, Any] = {}

    def keeping(self, i: int, tensor: Tensor) -> Pattern:
        """The pattern of an entry that keeps ``tensor`` of input ``i``: that itself, or a copy in place of the memory that it
        shows."""
        layout = tensor._layout or dispatch.layout_of(tensor)
        if all([index != i or kept is layout for _, index, kept in self.kept]):
            return self
        other = copy(self)
        other.kept = [(name, index, layout if index == i else kept) for name, index, kept in self.kept]
        other.recorded = {}
        return _shared(other)


class OpBackward(Node):
    """The tape's entry for one op; each op has a subclass of its own, named as PyTorch names it.

    ``saved`` has for each of ``pattern.kept`` a :class:`Saved`, a list of them, ``(tensor, node)``: a tensor and its content
    when it was saved, or ``(storage, node)`` of an output.
    """

    op = None
    pattern: Pattern
    saved: tuple | None
    carrying: Callable | None = None  # gives the saved values the tangents that they had (see autograd/forward_ad.py)

    def apply(self, grads: list, wanted: Container[Node] | None = None) -> tuple:
        """The gradients of the inputs; of those on the way to ``wanted`` nodes, where that is given and they are made one by one."""
        saved, pattern = self.saved, self.pattern
        if saved is None:
            raise RuntimeError(SECOND_TIME)
        first = grads[0]
        values = [zeros_for(self.metas[0]) if first is None else first, grads, pattern.needs, *pattern.constants]
        if pattern.kept:
            for item, (_, index, layout) in zip(saved, pattern.kept):
                values.append(unpacked(item, index, layout, self))
            if self.carrying is not None:
                values = self.carrying(values)
        if pattern.joint is not None:
            function, places = pattern.joint
            return tuple(function(*[values[k] for k in places]))
        results = [None] * len(pattern.needs)
        for i, function, places in pattern.calls:
            if wanted is None or self.edges[i] is not None and self.edges[i][0] in wanted:
                results[i] = function(*[values[k] for k in places])
        return tuple(results)

    def release(self) -> None:
        if self.pattern.holds:  # shapes and settings may stay
            self.saved = None

    @property
    def shown(self) -> tuple[int, ...]:
        return self.pattern.shown

    def __getattr__(self, name: str):
        """``_saved_self``, ``_saved_result`` and their like: what the node keeps, under PyTorch's names."""
        if name.startswith("_saved_"):
            if self.saved is None:
                raise RuntimeError(SECOND_TIME)
            own = name[len("_saved_") :]
            pattern = self.pattern
            for key in (own, {"self": self.op.tensors[0] if self.op.tensors else "", "result": "out"}.get(own)):
                if key in pattern.names:
                    return pattern.constants[pattern.names.index(key)]
                for item, (kept, index, layout) in zip(self.saved, pattern.kept, strict=True):
                    if kept == key:
                        return unpacked(item, index, layout, self)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


def unpacked(item, index: int, layout, entry: OpBackward):
    """A value that ``entry`` has saved, as its gradients take it."""
    kind = item.__class__
    if kind is tuple:
        holder, node = item
        if index < 0:
            same = holder.node is node
            t = make_tensor(holder if same else Storage(node), layout.shape, layout.dtype)
            if layout.strides is not None:
                t._strides = layout.strides
            t._grad_fn, t._output_nr = entry, -1 - index
            return t
        if holder._layout is layout and holder._storage.node is node and not grad_mode.enabled:
            return holder
        return Saved.again(holder, node, layout, index).unpack(entry)
    if kind is Saved:
        return item.unpack(entry)
    return tuple([v.unpack(entry) if v.__class__ is Saved else v for v in item]) if kind is list else item


def _prepare(op) -> Rules:
    """The rules of ``op``; also makes its class of entries."""
    namespace = "" if op.backward_name[-1].isdigit() else "torch::autograd::"
    op.node_type = type(op.backward_name, (OpBackward,), {"op": op, "namespace": namespace, "__module__": "torch.autograd.graph"})
    op.rules = Rules(op)
    return op.rules


def _overload_type(op, number: int | str) -> type:
    """The class of entries for one of the op's overloads: ``SumBackward1`` where ``sum`` was given dims."""
    if not number:
        return op.node_type
    types = op.rules.overloads
    if number not in types:
        name = number if isinstance(number, str) else f"{op.backward_name.removesuffix('0')}{number}"
        types[number] = type(name, (op.node_type,), {"__module__": "torch.autograd.graph"})
    return types[number]


def attach(op, results, inputs: tuple, attrs: dict) -> None:
    """Puts ``results = op(*inputs)`` on the tape, where an input needs a gradient."""
    edges: list[tuple | None] = []
    sorts: list = []
    wanted, bit = 0, 1
    for x in inputs:
        edge = None
        if isinstance(x, Tensor):
            sorts.append(x._dtype.kind >= dtypes.FLOATING)
            edge = edge_of(x)
            if edge is not None:
                wanted |= bit
        else:
            sorts.append(None if x is None else "number")
        edges.append(edge)
        bit += bit
    if not wanted:
        return
    rules = op.rules or _prepare(op)
    captures = rules.captures(wanted)
    if captures is None:
        return
    first = results
    if op.outputs:
        if not results:
            return
        first = results[0]
    elif first._dtype.kind < dtypes.FLOATING:
        return
    metas = tuple([meta_of(r) for r in results]) if op.outputs else (meta_of(first),)
    type_ = op.node_type if op.overload is None else _overload_type(op, op.overload(inputs, attrs))
    key = (type_, wanted, *sorts)
    form = rules.forms.get(key)
    if form is None:
        form = rules.forms[key] = Form(type_, captures, inputs, edges)
    saved, kept, constants = [], [], []
    for name, sort, i in form.saves:
        if sort is TENSOR:
            item, layout = _kept(inputs[i], i)
            saved.append(item)
            kept.append((name, i, layout))
        elif sort is OUTPUT:
            result = (results[i] if op.outputs else results).detach()
            kept.append((name, -1 - i, dispatch.layout_of(result)))
            saved.append(Saved(result, -1 - i))
        elif sort is ATTR:
            constants.append(attrs[name])
        elif sort is NUMBER:
            saved.append(inputs[i])
            kept.append((name, i, None))
        elif sort is LIST:
            saved.append([Saved(x, j) if isinstance(x, Tensor) else x for j, x in enumerate(inputs) if j >= i])
            kept.append((name, None, None))
        else:
            constants.append(None if sort is NOTHING else getattr(inputs[i], sort))
    pattern = Pattern(form, metas, constants, kept)
    _place(pattern if first._storage.is_meta else _shared(pattern), edges, saved, results)


def _kept(x: Tensor, i: int) -> tuple[Any, Any]:
    """What an entry saves of input ``i``, and its layout."""
    item = Saved(x, i)
    layout = x._layout
    if layout is None or layout.memory is not None:  # a part may be read in another way than it was then
        layout = dispatch.layout_of(x)
        if x._storage.exposed and item.node is not None and layout.memory is not WINDOW:
            layout = dispatch.layout_of(item.tensor)  # of memory that others may write to it is a copy
    return item, layout


MAX_PATTERNS = 16384
_patterns: dict[tuple, Pattern] = {}


def _shared(pattern: Pattern) -> Pattern:
    """The pattern of earlier calls that is equal to this one, if there is one: equal patterns are one object."""
    p = pattern
    key = (p.form, p.metas, *[exact(c) for c in p.constants], *p.kept)
    try:
        if len(_patterns) >= MAX_PATTERNS:
            _patterns.clear()
        return _patterns.setdefault(key, pattern)
    except TypeError:  # a setting that has no hash
        return pattern


def _place(pattern: Pattern, edges: list, saved: list, results) -> None:
    """Makes the entry, and gives it to the results."""
    entry = _new(pattern.type)
    entry.pattern = pattern
    entry.metas = pattern.metas
    entry.edges = edges
    entry.saved = tuple(saved)
    entry.sequence = next_sequence()
    if anomaly.enabled:
        remember(entry)
    if not pattern.several:
        results._grad_fn = entry
        return
    op = pattern.type.op  # type: ignore[attr-defined]
    for i, r in enumerate(results):
        if r._dtype.kind >= dtypes.FLOATING and not (op.nondifferentiable and op.outputs[i] in op.nondifferentiable):
            r._grad_fn, r._output_nr = entry, i


def pattern_of(entry: Node) -> Pattern | None:
    """What entries of calls like that of ``entry`` have in common; ``None`` where each is different."""
    pattern = entry.pattern
    return None if pattern is None or pattern.lists else pattern


def enter(pattern: Pattern, inputs: Sequence, results) -> None:
    """Puts a call on the tape whose entry follows ``pattern``."""
    edges: list = []
    for x, needed in zip(inputs, pattern.needs):
        if needed:
            fn = x._grad_fn
            edges.append((fn, x._output_nr) if fn is not None else (accumulator(x), 0))
        else:
            edges.append(None)
    edges += [None] * (len(pattern.needs) - len(edges))  # constants behind the arguments
    saved: list = []
    for _, i, layout in pattern.kept:
        if layout is None:
            saved.append(inputs[i])
            continue
        x = inputs[i] if i >= 0 else results[-1 - i] if pattern.several else results
        if saving_hooks:
            saved.append(Saved(x if i >= 0 else x.detach(), i))
        else:
            storage = x._storage
            saved.append((x if i >= 0 else storage, storage.node))
    _place(pattern, edges, saved, results)


dispatch.attach = attach
dispatch.enter = enter
dispatch.pattern_of = pattern_of
dispatch.tape_parts = lambda: {
    "Saved": Saved, "accumulator": accumulator, "anomaly": anomaly, "enter": enter, "next_sequence": next_sequence,
    "saving_hooks": saving_hooks,
}  # fmt: skip
