"""The functions that follow recipes: one for each form of call, written as straight-line code.

Following a recipe is most of what a program's Python costs here, so there is nothing to look up or to loop over in it:
how many arguments there are, which are numbers, what the tape keeps is all known. The text of such a function depends on
the form only, so calls of the same form share it; shapes, settings and the rest are its closure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from flambeau import dispatch
from flambeau.core import config
from flambeau.core.size import Size
from flambeau.engine import graph
from flambeau.engine.graph import PROJECT, Node
from flambeau.engine.run import after_record
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor, read


class Source(NamedTuple):
    """One of a node's inputs: which argument it is (``None``: the constant), and the nodes in between.

    ``steps`` are (op, settings, shape, dtype, kind) of the views and conversions between the argument's storage and what
    the node reads; ``None`` for a number. ``whole``: these are what reading the argument makes, so that memory which
    somebody else may write to can be read at once instead. ``is_view``: the argument's base may have been written to.
    """

    place: int | None
    constant: Any = None
    steps: tuple | None = None
    whole: bool = False
    is_view: bool = False


class Result(NamedTuple):
    """What a result's tensor gets."""

    shape: Size
    dtype: Any
    strides: tuple[int, ...] | None
    layout: Any
    offset: int = 0


_makers: dict[str, Callable] = {}


def follower(node: Node, kind: object, count: int, sources: tuple[Source, ...], results: Result | tuple, pattern) -> Callable:
    """``follow(args)`` that records ``node``'s op on ``count`` arguments; ``None`` where they must be looked at in full.

    ``results`` is a tuple, of (settings and kind of the node that takes it out, :class:`Result`), where there are several.
    """
    values: dict[str, Any] = {
        "op": node.op, "attrs": node.attrs, "shape": node.shape, "dtype": node.dtype, "kind": kind, "results": results,
    }  # fmt: skip
    several = results.__class__ is tuple
    kept = {i for _, i, layout in pattern.kept if i >= 0 and layout is not None} if pattern is not None else set()
    lines = _reading(count, sources, kept)
    lines += [
        "node = new(Node)",
        f"node.inputs = ({', '.join(_input(i, s, i in kept, values) for i, s in enumerate(sources))},)",
        "node.op, node.attrs, node.shape, node.dtype, node.kind = op, attrs, shape, dtype, kind",
        "append(node)",
    ]
    inputs = ", ".join(f"c{i}" if s.place is None else f"a{s.place}" for i, s in enumerate(sources))
    if several:
        lines += ["result = tuple([take_out(node, *r) for r in results])"]
        if pattern is not None:
            lines += [f"enter(pattern, ({inputs},), result)"]
        values["named"] = node.op.named_tuple()
    else:
        lines += ["storage = new(Storage)", "storage.node = node", "result = new(Tensor)", "result._storage = storage"]
        lines += _described(results, values)
        if pattern is not None:
            lines += _entry(sources, inputs, pattern)
    values["pattern"] = pattern
    lines += ["if len(trace) >= config.max_pending_nodes:", "    del node", "    after_record()"]
    return _made(lines, "named(result)" if several else "result", values)


def view_follower(result: Result, is_view: bool, pattern) -> Callable:
    """``follow(args)`` that makes another view of the first argument's storage."""
    values: dict[str, Any] = {"pattern": pattern}
    lines = ["a0 = args[0]", "s0 = a0._storage"]
    if is_view:
        lines += ["if a0._history != s0.history: return None"]
    lines += ["result = new(Tensor)", "result._storage = s0", *_described(result, values)]
    lines += [
        "base = a0._base",
        "result._base = a0 if base is None else base",
        "if s0.history: result._history = s0.history",
    ]
    if pattern is not None:
        lines += _entry((Source(0, None, (), True),), "a0", pattern)
    return _made(lines, "result", values)


def _reading(count: int, sources: tuple[Source, ...], kept: set[int]) -> list[str]:
    """Takes the arguments apart; what the tape keeps must lie in memory that nobody else writes to."""
    lines = ["if config.eager: return None"]
    used = {s.place for s in sources if s.place is not None}
    lines += [f"a{k} = args[{k}]" for k in sorted(used)] if used != set(range(count)) else [
        f"{', '.join(f'a{k}' for k in range(count))}, = args"
    ]  # fmt: skip
    tensors = sorted({s.place for s in sources if s.steps is not None})
    lines += [f"s{k} = a{k}._storage" for k in tensors]
    private = {s.place for i, s in enumerate(sources) if s.steps is not None and (i in kept or not s.whole)}
    refused = [f"s{k}.exposed" for k in sorted(private)]
    refused += [f"a{s.place}._history != s{s.place}.history" for s in sources if s.is_view]
    if refused:
        lines += [f"if {' or '.join(refused)}: return None"]
    return lines


def _input(i: int, source: Source, kept: bool, values: dict) -> str:
    """What stands in the node's inputs for a source."""
    if source.place is None:
        values[f"c{i}"] = source.constant
        return f"c{i}"
    if source.steps is None:
        return f"a{source.place}"
    k = source.place
    node = f"s{k}.node"
    if source.steps:
        values[f"steps{i}"] = source.steps
        node = f"through({node}, steps{i})"
    return f"read(a{k}) if s{k}.exposed else {node}" if source.whole and not kept else node


def _described(result: Result, values: dict) -> list[str]:
    values["result_shape"], values["result_dtype"], values["layout"] = result.shape, result.dtype, result.layout
    lines = ["result._shape, result._dtype, result._layout = result_shape, result_dtype, layout"]
    if result.strides is not None:
        values["strides"] = result.strides
        lines += ["result._strides = strides"]
    return [*lines, f"result._offset = {result.offset}"] if result.offset else lines


def _entry(sources: tuple[Source, ...], inputs: str, pattern) -> list[str]:
    """The tape's entry; as :func:`flambeau.autograd.graph.enter` makes it."""
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
        if i < 0:
            saved += ["(storage, node)"]
        elif layout is None:
            saved += [f"c{i}" if sources[i].place is None else f"a{sources[i].place}"]
        else:
            saved += [f"(a{sources[i].place}, s{sources[i].place}.node)"]
    return lines + [
        "    entry = new(pattern.type)",
        "    entry.pattern, entry.metas = pattern, metas",
        f"    entry.edges = [{', '.join(edges)}]",
        f"    entry.saved = ({', '.join(saved)},)" if saved else "    entry.saved = ()",
        "    entry.sequence = next_sequence()",
        "    result._grad_fn = entry",
    ]


def _made(lines: list[str], result: str, values: dict) -> Callable:
    pattern = values["pattern"]
    values["metas"] = pattern and pattern.metas
    names = sorted(values)
    body = "\n".join("        " + line for line in lines)
    text = f"def make({', '.join(names)}):\n    def follow(args):\n{body}\n        return {result}\n    return follow"
    maker = _makers.get(text)
    if maker is None:
        scope = {**_SCOPE, **dispatch.tape_parts()}
        exec(compile(text, "<recipe>", "exec"), scope)
        maker = _makers[text] = scope["make"]
    return maker(*[values[name] for name in names])


def _take_out(node: Node, attrs: dict, kind: object, result: Result) -> Tensor:
    part = Node(PROJECT, (node,), attrs, result.shape, result.dtype)
    part.kind = kind
    t = object.__new__(Tensor)
    t._storage = Storage(part)
    t._shape, t._dtype, t._layout = result.shape, result.dtype, result.layout
    return t


def _through(node: Node, steps: tuple) -> Node:
    for op, attrs, shape, dtype, kind in steps:
        node = Node(op, (node,), attrs, shape, dtype)
        node.kind = kind
    return node


_SCOPE = {
    "new": object.__new__, "Node": Node, "Storage": Storage, "Tensor": Tensor, "trace": graph.trace, "append": graph.trace.append,
    "config": config, "after_record": after_record, "read": read, "through": _through, "take_out": _take_out,
}  # fmt: skip
