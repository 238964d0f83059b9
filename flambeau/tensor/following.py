"""The functions that follow recipes: one for each form of call, written as straight-line code.

Following a recipe is most of what a program's Python costs here, so there is nothing to look up or to loop over in it:
how many arguments there are, which are numbers, what the tape keeps is all known. The text of such a function depends on
the form only, so calls of the same form share it; shapes, settings and the rest are its defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from flambeau import dispatch
from flambeau.core import config
from flambeau.core.generated import function_of
from flambeau.core.size import Size
from flambeau.dispatch import grad_mode
from flambeau.engine import graph
from flambeau.engine.graph import PROJECT, Node
from flambeau.engine.run import after_record, run_pending
from flambeau.tensor.reading import read, window_of
from flambeau.tensor.storage import InferenceStorage, Storage
from flambeau.tensor.tensor import INFERENCE, NO_GRAD, Tensor, creation_of


class Source(NamedTuple):
    """One of a node's inputs: which argument it is (``None``: the constant), and the nodes in between.

    ``steps`` are (op, settings, shape, dtype, kind) of the views and conversions between the argument's storage and what
    the node reads; ``None`` for a number. ``whole``: these are what reading the argument makes, so that memory which
    somebody else may write to can be read at once instead. ``is_view``: the argument's base may have been written to.
    ``is_window``: it is read through a window of its storage. ``limits``: between which numbers are taken as they are;
    infinities and NaN are too. ``is_numpy``: the number is a scalar of NumPy's.
    """

    place: int | None
    constant: Any = None
    steps: tuple | None = None
    whole: bool = False
    is_view: bool = False
    is_window: bool = False
    limits: tuple | None = None
    is_numpy: bool = False


class Result(NamedTuple):
    """What a result's tensor gets; ``steps`` are the nodes that put it into another order in memory, as those of a source."""

    shape: Size
    dtype: Any
    strides: tuple[int, ...] | None
    layout: Any
    offset: int = 0
    steps: Any = ()


def follower(
    node: Node, kind: object, count: int, sources: tuple[Source, ...], results: Result | tuple, pattern, verify=None
) -> Callable:
    """``follow(args)`` that records ``node``'s op on ``count`` arguments; ``None`` where they must be looked at in full.

    ``results`` is a tuple, of (settings, shape and kind of the node that takes it out, :class:`Result`), where there are several.
    ``verify`` looks at the inputs' values each time, and raises what is wrong with them; see :mod:`flambeau.ops.record`.
    """
    values: dict[str, Any] = {**_of_tape(pattern), "attrs": node.attrs, "verify": verify}
    several = results.__class__ is tuple
    kept = {i for _, i, layout in pattern.kept if i >= 0 and layout is not None} if pattern is not None else set()
    inputs = ", ".join(f"c{i}" if s.place is None else f"a{s.place}" for i, s in enumerate(sources))
    lines = _reading(count, sources, kept)
    if verify is not None:
        looks = f"if not verify(({inputs},), attrs):"
        lines += ["if config.values_unknown: return None"]  # nobody may look
        lines += [looks, "    run_pending()", f"    {looks} return None"]  # a composite has made its earlier calls already
    for k in sorted({s.place for s in sources if s.is_window}):
        lines += [f"w{k} = window_of(a{k})", f"if w{k} is None: return None"]
    nodes: list[str] = []
    for i, source in enumerate(sources):
        lines += _input(i, source, i in kept, nodes, values)
    read_from = "".join(f"{_name(i, s)}, " for i, s in enumerate(sources))
    moves = () if several else results.steps  # type: ignore[union-attr]
    lines += _chain("node", read_from, [(node.op, node.attrs, node.shape, node.dtype, kind), *moves], nodes, values)
    if several:
        for i, (attrs, shape, kind, result) in enumerate(results):
            steps = [(PROJECT, attrs, shape, result.dtype, kind), *result.steps]
            lines += _chain(f"part{i}", "node, ", steps, nodes, values)
            lines += _tensor(f"r{i}", f"part{i}", result, values)
        lines += [f"result = ({''.join(f'r{i}, ' for i in range(len(results)))})"]
        values["named"] = node.op.named_tuple()
    else:
        lines += _tensor("result", "node", results, values)  # type: ignore[arg-type]
    if pattern is not None:
        values["on_tape"] = _on_tape([r for *_, r in results] if several else [results])  # type: ignore[list-item]
        lines += _entry(sources, inputs, pattern)
    # What runs must not find nodes of which nobody but these variables knows.
    lines += ["if len(trace) >= config.max_pending_nodes:", f"    del {', '.join(nodes)}", "    after_record()"]
    return _made(lines, "named(result)" if several else "result", values)


def view_follower(
    results: Result | tuple[Result, ...], is_view: bool, pattern, is_in_window: bool = False, in_inference: bool = False
) -> Callable:
    """``follow(args)`` that makes another view, or several, of the first argument's storage.

    ``is_in_window``: where the result begins is counted from where the argument does. ``in_inference``: of a tensor that was made
    in inference mode, of which there are no views.
    """
    values: dict[str, Any] = {**_of_tape(pattern), "results": results}
    lines = ["a0 = args[0]", "s0 = a0._storage"]
    if is_view:
        lines += ["if a0._history != s0.history: return None"]
    if results.__class__ is tuple:
        lines += ["creation = creation_of(a0, True)", "result = tuple([part_of(a0, r, creation) for r in results])"]
    else:
        lines += ["result = new(Tensor)", "result._storage = s0", *_described("result", results, values)]  # type: ignore
        if not in_inference:
            lines += [
                "result._base = a0._base" if is_view else "result._base = a0",
                "if s0.history: result._history = s0.history",
            ]
            if not grad_mode.enabled:  # what creation_of gives
                lines += [f"result._creation = {'NO_GRAD' if grad_mode.enabled is False else 'INFERENCE'}"]
            elif is_view:
                lines += ["if a0._creation is not None: result._creation = a0._creation"]
        if is_in_window:
            lines += [f"result._offset = a0._offset + {results.offset}"]  # type: ignore[union-attr]
    if pattern is not None:
        values["on_tape"] = _on_tape(results if pattern.several else (results,))  # type: ignore
        lines += _entry((Source(0, None, (), True),), "a0", pattern)
    return _made(lines, "result", values)


class Call(NamedTuple):
    """One of the calls that a composite makes: how its op is followed, and the text of each argument."""

    follow: Callable
    arguments: tuple[str, ...]


def composite_follower(
    count: int, tensors: Sequence[int], calls: Sequence[Call], constants: Sequence, writes: Sequence[tuple[str, str]], result: str
) -> Callable:
    """``follow(args)`` that makes a composite's calls one after the other; ``None`` where it must run in full.

    In the texts of the calls' arguments and of the result ``a0`` is an argument, ``r0`` what a call gave, ``c0`` a constant.
    The arguments ``tensors`` were different ones. ``writes`` come last, so that nothing is written twice.
    """
    values: dict[str, Any] = {f"f{i}": call.follow for i, call in enumerate(calls)}
    values |= {f"c{i}": constant for i, constant in enumerate(constants)}
    given = tuple([f"a{i}" for i in range(count)])
    refused = ["config.eager", "dispatch.watch is not None", "autocast.cast is not None"]
    refused += [f"a{i} is a{j}" for i, j in combinations(tensors, 2)]
    lines = [f"{''.join(f'{a}, ' for a in given)}= args", f"if {' or '.join(refused)}: return None"]
    for i, call in enumerate(calls):
        arguments = "args" if call.arguments == given else f"({''.join(f'{x}, ' for x in call.arguments)})"
        if i == len(calls) - 1 and result == f"r{i}" and not writes:
            return _made(lines, f"f{i}({arguments})", values)
        lines += [f"r{i} = f{i}({arguments})", f"if r{i} is None: return None"]
    lines += [f"write({target}, {value})" for target, value in writes]
    return _made(lines, result, values)


def _write(input: Tensor, result: Tensor) -> None:
    """Assigns ``result`` off the tape."""
    enabled = grad_mode.enabled
    try:
        grad_mode.off()
        dispatch.assign(input, result)
    finally:
        grad_mode.enabled = enabled


def _reading(count: int, sources: tuple[Source, ...], kept: set[int]) -> list[str]:
    """Takes the arguments apart, and refuses what the recipe does not say how to read."""
    lines = ["if config.eager: return None"]
    used = {s.place for s in sources if s.place is not None}
    lines += [f"a{k} = args[{k}]" for k in sorted(used)] if used != set(range(count)) else [
        f"{', '.join(f'a{k}' for k in range(count))}, = args"
    ]  # fmt: skip
    for s in sources:
        if s.is_numpy:
            lines += [f"a{s.place} = a{s.place}.item()"]
        if s.limits is not None:
            low, high = s.limits
            infinite = f" and abs(a{s.place}) < inf" if high.__class__ is float else ""
            lines += [f"if not {low!r} <= a{s.place} <= {high!r}{infinite}: return None"]
    tensors = sorted({s.place for s in sources if s.steps is not None})
    lines += [f"s{k} = a{k}._storage" for k in tensors]
    not_whole = {s.place for s in sources if s.steps is not None and not s.whole and not s.is_window}
    refused = [f"s{k}.exposed" for k in sorted(not_whole)]
    refused += [f"a{s.place}._history != s{s.place}.history" for s in sources if s.is_view]
    hooked = [f"s{k}.exposed" for k in sorted({sources[i].place for i in kept})]
    if hooked:  # how the tape keeps what is read of such memory is not said by the pattern alone
        refused += [f"({' or '.join(hooked)}) and (saving_hooks or anomaly.enabled)"]
    if refused:
        lines += [f"if {' or '.join(refused)}: return None"]
    return lines


def _name(i: int, source: Source) -> str:
    """What stands in the node's inputs for a source."""
    return f"c{i}" if source.place is None else f"a{source.place}" if source.steps is None else f"n{i}"


def _input(i: int, source: Source, kept: bool, nodes: list[str], values: dict) -> list[str]:
    """Reads a source: a tensor's node is ``n``, and what the tape keeps of it ``k``.

    Of memory that somebody else may write to, both are a copy.
    """
    k = source.place
    if k is None:
        values[f"c{i}"] = source.constant
    if k is None or source.steps is None:
        return []
    content = f"w{k}" if source.is_window else f"s{k}.node"
    lines = _chain(f"n{i}", content + ", ", source.steps, nodes, values)
    if not lines:
        lines += [f"n{i} = {content}"]
        nodes += [f"n{i}"]
    if kept:
        lines += [f"k{i} = a{k}, {content}"]
    if not source.whole:
        return lines
    if not kept:
        return [f"if s{k}.exposed: n{i} = read(a{k})", "else:", *[f"    {line}" for line in lines]]
    copied = f"    k{i} = Saved(a{k}, {i}); n{i} = k{i}.node"
    if source.steps:
        copied += f"; pattern = pattern.keeping({i}, k{i}.tensor)"
    return [f"if s{k}.exposed and s{k}.is_shared():", copied, "else:", *[f"    {line}" for line in lines]]


def _chain(name: str, inputs: str, steps: Sequence[tuple], nodes: list[str], values: dict) -> list[str]:
    """Makes nodes of which each reads the one before; the last is called ``name``."""
    lines = []
    for j, step in enumerate(steps, 1):
        made = name if j == len(steps) else f"{name}_{j}"
        lines += _node(made, inputs, step, values)
        nodes += [made]
        inputs = made + ", "
    return lines


def _node(name: str, inputs: str, made: tuple, values: dict) -> list[str]:
    """Makes a node of (op, settings, shape, dtype, kind)."""
    parts = [f"{part}_{name}" for part in ("op", "attrs", "shape", "dtype", "kind")]
    values.update(zip(parts, made, strict=True))
    return [
        f"{name} = new(Node)",
        f"{name}.inputs = ({inputs})",
        f"{name}.op, {name}.attrs, {name}.shape, {name}.dtype, {name}.kind = {', '.join(parts)}",
        f"append({name})",
    ]


def _tensor(name: str, node: str, result: Result, values: dict) -> list[str]:
    """Makes a tensor with a storage of its own."""
    kind = "InferenceStorage" if result.layout.inference else "Storage"
    lines = [f"storage = new({kind})", f"storage.node = {node}", f"{name} = new(Tensor)", f"{name}._storage = storage"]
    return lines + _described(name, result, values)


def _described(name: str, result: Result, values: dict) -> list[str]:
    parts = [f"{part}_of_{name}" for part in ("shape", "dtype", "layout")]
    values.update(zip(parts, (result.shape, result.dtype, result.layout), strict=True))
    lines = [f"{name}._shape, {name}._dtype, {name}._layout = {', '.join(parts)}"]
    if result.strides is not None:
        values[f"strides_of_{name}"] = result.strides
        lines += [f"{name}._strides = strides_of_{name}"]
    return [*lines, f"{name}._offset = {result.offset}"] if result.offset else lines


def _entry(sources: tuple[Source, ...], inputs: str, pattern) -> list[str]:
    """The tape's entry; as :func:`flambeau.autograd.entries.enter` makes it."""
    edges = []
    lines = [f"if saving_hooks or anomaly.enabled: enter(pattern, ({inputs},), result)", "else:"]
    for i, needed in enumerate(pattern.needs):
        if needed:
            a = f"a{sources[i].place}"
            lines += [f"    f{i} = {a}._grad_fn"]
            edges += [f"(f{i}, {a}._output_nr) if f{i} is not None else (accumulator({a}), 0)"]
        else:
            edges += ["None"]
    saved = []
    for _, i, layout in pattern.kept:
        if i < 0 and pattern.several:
            saved += [f"(r{-1 - i}._storage, part{-1 - i})"]
        elif i < 0:
            saved += ["(storage, node)"]
        elif layout is None:
            saved += [f"c{i}" if sources[i].place is None else f"a{sources[i].place}"]
        else:
            saved += [f"k{i}"]
    lines += [
        "    entry = new(pattern.type)",
        "    entry.pattern, entry.metas = pattern, metas",
        f"    entry.edges = [{', '.join(edges)}]",
        f"    entry.saved = ({', '.join(saved)},)" if saved else "    entry.saved = ()",
        "    entry.sequence = next_sequence()",
    ]
    if pattern.several:
        return [*lines, "    for i in on_tape: r = result[i]; r._grad_fn, r._output_nr = entry, i"]
    return [*lines, "    result._grad_fn = entry"]


def _on_tape(results: Sequence[Result]) -> list[int]:
    """Which of the results have a gradient."""
    return [i for i, r in enumerate(results) if r.layout.requires_grad]


def _of_tape(pattern) -> dict[str, Any]:
    return {"pattern": pattern, "metas": pattern and pattern.metas}


def _made(lines: list[str], result: str, values: dict) -> Callable:
    return function_of("args", lines, result, values, lambda: {**_SCOPE, **dispatch.tape_parts()}, "<recipe>")


def _part_of(a: Tensor, part: Result, creation: str | None) -> Tensor:
    """A view of the storage of ``a``."""
    t = object.__new__(Tensor)
    t._storage = a._storage
    t._shape, t._dtype, t._layout = part.shape, part.dtype, part.layout
    t._strides, t._offset = part.strides, part.offset
    if not a._storage.is_inference:
        t._base, t._history = a if a._base is None else a._base, a._storage.history
        t._creation = creation
    return t


_SCOPE: dict[str, Any] = {
    "new": object.__new__, "Node": Node, "Storage": Storage, "InferenceStorage": InferenceStorage, "Tensor": Tensor, "trace": graph.trace, "append": graph.trace.append,
    "config": config, "dispatch": dispatch, "write": _write, "autocast": dispatch.autocast, "after_record": after_record, "run_pending": run_pending, "read": read, "part_of": _part_of,
    "window_of": window_of, "creation_of": creation_of, "inf": float("inf"),
    "grad_mode": grad_mode, "INFERENCE": INFERENCE, "NO_GRAD": NO_GRAD,
}  # fmt: skip
"""What the functions know by name, besides what the tape adds."""
