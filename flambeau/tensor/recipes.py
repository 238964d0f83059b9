"""Repeating a call: what an op made of its arguments once is remembered, and done again in few steps.

Checking arguments, inferring shapes, promoting dtypes and finding out what the tape must keep depend only on the
tensors' *layouts* (shape, strides, dtype, whether a gradient is wanted), on the settings, and on whether gradients are
recorded. So a call of a kind that comes again leaves a recipe with its op, a function (see :mod:`flambeau.tensor.following`) that
later ones run: it makes a node, a storage, a tensor and an entry on the tape, and nothing else. What a recipe cannot say
(values that an op must look at) is recorded in full each time.
"""

from __future__ import annotations

from collections.abc import Callable
from math import copysign, inf, prod

import numpy as np

from flambeau import dispatch
from flambeau.core import config, dtypes
from flambeau.core.scalars import open_range
from flambeau.core.size import Size, contiguous_strides
from flambeau.dispatch import grad_mode
from flambeau.engine import run
from flambeau.engine.flight import lock
from flambeau.engine.graph import VIEW, Node
from flambeau.engine.trace import kind_of
from flambeau.ops.conversion import to_dtype
from flambeau.ops.record import Op, plain, registry
from flambeau.tensor.following import Result, Source, follower, view_follower
from flambeau.tensor.order import COPY
from flambeau.tensor.reading import WINDOW, geometry_of, is_little, is_plain, is_window
from flambeau.tensor.tensor import Tensor

MAX_RECIPES = 4096
"""Of one op: a program whose shapes never repeat begins anew."""
MAX_SEEN = 4096
"""Calls of one op that have come once."""


class Layout:
    """All that recording looks at in a tensor but its place in memory; equal layouts are one object."""

    __slots__ = (
        "born",
        "dtype",
        "inference",
        "little",
        "memory",
        "offset",
        "parts",
        "requires_grad",
        "shape",
        "size",
        "steps",
        "strides",
    )

    def __init__(
        self, shape, strides, offset, dtype, memory, is_view: bool, requires_grad: bool, bits: frozenset, inference: bool
    ) -> None:
        self.shape, self.strides, self.offset, self.dtype = shape, strides, offset, dtype
        self.memory = memory  # shape and dtype of its storage's content, where that is not its own, or WINDOW; else None
        self.requires_grad = requires_grad
        self.inference = inference  # made in inference mode
        # What parts are like (see tensor/indexing.py); None where they are not what is in memory.
        self.parts: dict[int, tuple] | None = None if bits else {}
        self.little = memory is WINDOW and not bits and is_little(shape, strides)
        self.size = prod(shape)
        self.born = run.taken  # how many traces had run when it came up
        self.steps: tuple[int, ...] | None = strides  # once they have been asked for, those of a row-major tensor too


MAX_LAYOUTS = 32768
_layouts: dict[tuple, Layout] = {}


def layout_of(t: Tensor) -> Layout:
    """The layout of ``t``, which remembers it; whatever changes it sets ``t._layout`` back to ``None``.

    Tensors without values are never alike, and so never part of what is remembered.
    """
    node = t._storage.node
    if t._storage.is_meta:
        return Layout(
            t._shape, t._strides, t._offset, t._dtype, (), t._base is not None, t.requires_grad, t._bits, t._storage.is_inference
        )
    requires_grad = t.requires_grad
    memory, offset = None, t._offset
    if not is_plain(t):
        memory, offset = (WINDOW, 0) if is_window(t) else ((node.shape, node.dtype), offset)
    key = (t._shape, t._strides, offset, t._dtype, memory, t._base is not None, requires_grad, t._bits, t._storage.is_inference)
    found = _layouts.get(key)
    if found is None:
        if len(_layouts) >= MAX_LAYOUTS:
            _layouts.clear()
            forget()  # tensors that are made from now on would not find them
        found = _layouts[key] = Layout(*key)
    t._layout = found
    return found


def steps_of(layout: Layout) -> tuple[int, ...]:
    """The strides of a tensor, row-major or not."""
    if layout.steps is None:
        layout.steps = contiguous_strides(layout.shape)
    return layout.steps


def little_window(whole: Layout, shape: Size, strides: tuple[int, ...] | None) -> Layout | None:
    """The layout of a little part of some data (see :func:`flambeau.tensor.reading.is_little`); ``None`` for a larger part."""
    if not is_little(shape, strides):
        return None
    key = (shape, strides, 0, whole.dtype, WINDOW, not whole.inference, False, Tensor._bits, whole.inference)
    return _layouts.get(key) or _layouts.setdefault(key, Layout(*key))


# --- which recipe --------------------------------------------------------------------------------------------


def key_of(op: Op, args: tuple, kwargs: dict) -> tuple | None:
    """What calls that follow the same recipe have in common; ``None`` where an argument is no part of a key.

    Tensors count by their layouts, and numbers that are given to the op at run time by their class alone. For calls with
    nothing else :func:`flambeau.ops.record._public_function` makes the same key. Where a call once turned out to depend on
    the values (``op.closed``), they are part of the key of calls like it.
    """
    key = _key(op, args, kwargs, op.numbers)
    return _key(op, args, kwargs, _NO_NUMBERS) if op.closed and key in op.closed else key


_NO_NUMBERS: frozenset = frozenset()


def _key(op: Op, args: tuple, kwargs: dict, numbers: frozenset) -> tuple | None:
    key: list = []
    append = key.append
    try:
        if numbers and not kwargs and len(args) <= op.by_layout:
            return (*[layout_or_class(x) for x in args], grad_mode.enabled)
        listed = op.listed if op.listed is not None and _takes_list(op, args) else None
        for i, x in enumerate(args):
            if i == listed:
                append(tuple([layout_or_class(x) for x in x]))
            elif isinstance(x, Tensor):
                append(x._layout or known_layout(x))
            elif x.__class__ is int:
                append(int if i in numbers else x)
            else:
                append(_setting(x, i in numbers))
        if kwargs:
            append(_NAMED)
            for name, x in kwargs.items():
                append(name)
                if x.__class__ is str:
                    append(x)
                elif x.__class__ is int:
                    append(int if name in numbers else x)
                else:
                    append(x._layout or known_layout(x) if isinstance(x, Tensor) else _setting(x, name in numbers))
    except _Unclear:
        return None
    append(grad_mode.enabled)
    return tuple(key)


MAX_LISTED = 32
"""How many tensors a list may have in a recipe: the function that follows it has lines for each."""


def _takes_list(op: Op, args: tuple) -> bool:
    """Whether an argument is a list of the op's tensors."""
    i = op.listed
    return i is not None and len(args) > i and args[i].__class__ in (list, tuple) and len(args[i]) <= MAX_LISTED


def given(op: Op, args: tuple, kwargs: dict) -> tuple:
    """The arguments one by one, those of a list too."""
    i = op.listed
    if i is not None and _takes_list(op, args):
        args = (*args[:i], *args[i], *args[i + 1 :])
    return (*args, *kwargs.values()) if kwargs else args


_NAMED, _TRUE, _FALSE = object(), object(), object()


class _Unclear(Exception):
    """An argument that is no part of a recipe's key."""


def known_layout(t: Tensor) -> Layout:
    """:func:`layout_of`, where that is to be part of a key."""
    if t._storage.is_meta or t.__class__ not in plain:
        raise _Unclear
    return layout_of(t)


def layout_or_class(x):
    return x._layout or known_layout(x) if isinstance(x, Tensor) else x.__class__


def _setting(x, is_number: bool):
    kind = x.__class__
    if kind is int or kind is float:
        # A number's value is an input of the node, given at run time. Of settings 1, 1.0 and True differ, and 0.0 and -0.0.
        return kind if is_number else x if kind is int else (kind, x) if x else (kind, x, copysign(1.0, x))
    if x is None:
        return kind
    if kind is bool:
        return _TRUE if x else _FALSE
    if kind is str or kind is dtypes.dtype:
        return x
    if kind is list or isinstance(x, tuple):
        parts = [v if v.__class__ is int else _setting(v, False) for v in x if v.__class__ is not list or _refuse()]
        return (list, *parts) if kind is list else tuple(parts)
    return _refuse()


def _refuse():
    raise _Unclear


FRESH = 16
"""Of so many calls with new layouts that an op has in a trace none is remembered; with more it may be a loop."""


def is_new(op: Op, args: tuple) -> bool:
    """Whether a tensor has a layout that has come up since the last trace ran, so that no such call can have been made before.

    In a program whose sizes change at every step that is so nearly always: it is not worth looking for what was remembered, nor
    remembering more than :func:`skip` does.
    """
    now = run.taken
    if op.fresh[0] == now and op.fresh[1] >= FRESH:
        return False
    new = False
    for x in args:
        if isinstance(x, Tensor):
            if x.__class__ not in plain or x._storage.is_meta:
                return False
            if (x._layout or layout_of(x)).born == now:
                new = True
    return new


def skip(op: Op) -> None:
    """Remembers that an op has had a call with a layout that is new, but not which."""
    before, count = op.fresh
    now = run.taken
    op.fresh = (now, count + 1 if before == now else 1)
    if len(op.skipped) >= MAX_SEEN:
        op.skipped.clear()
    op.skipped[now] = op.fresh[1]


def repeat(op: Op, args: tuple, kwargs: dict):
    """The result of a call that has been seen before, in few steps; ``None`` where it must be recorded in full."""
    recipes = op.recipes
    if not recipes or is_new(op, args):
        return None
    follow = recipes.get(key_of(op, args, kwargs))
    if follow is None:
        return None
    return follow(given(op, args, kwargs))


# --- writing it down -----------------------------------------------------------------------------------------


class _Whole:
    """Whether all that is recorded is being written down as one: then the calls in it need no recipes of their own."""

    written = False


whole = _Whole()


def learn(op: Op, args: tuple, kwargs: dict, inputs: tuple, results) -> None:
    """Remembers how a call was recorded, if that follows from its layouts and settings alone.

    The op has not looked at values while it checked its arguments.
    """
    if whole.written or op.checked and op.verify is None or op.eager or config.eager or not _comes_again(op, args, kwargs):
        return
    with lock:  # what another thread has run says no longer what it was
        _learn(op, args, kwargs, inputs, results)
    key = key_of(op, args, kwargs)
    if key is not None and key not in op.recipes:
        op.seen[key] = (run.taken + PATIENCE) * OFTEN  # it was not clear, and is not likely to be soon


def _learn(op: Op, args: tuple, kwargs: dict, inputs: tuple, results) -> None:
    several = bool(op.outputs)
    first = results[0] if several else results
    node = _made(first._storage.node, op)
    node = node.inputs[0] if several and node.inputs else node
    if node.op is not op.verified or not node.inputs:
        return  # it has run already or may refuse its values, or the result is none of its own
    verify = op.verify if op.checked else None
    arguments = given(op, args, kwargs)
    open_key = _key(op, args, kwargs, op.numbers)
    is_open = bool(op.numbers) and open_key not in op.closed
    sources = _sources(op, arguments, inputs, node, first._strides is not None, is_open)
    if sources is None or is_open and _depends_on_numbers(op, args, kwargs, sources):
        if not is_open or open_key is None:
            return
        if len(op.closed) >= MAX_RECIPES:
            op.closed.clear()
            op.recipes.clear()
        op.closed.add(open_key)  # from now on the values are part of the key of such calls
        sources = _sources(op, arguments, inputs, node, first._strides is not None, False)
        if sources is None:
            return
    described: Result | tuple
    if several:
        parts = [_made(r._storage.node, op) for r in results]
        described = tuple([(n.attrs, n.shape, kind_of(n), _described(r, n)) for n, r in zip(parts, results, strict=True)])
    else:
        described = _described(results, node)

    def make(pattern):
        for _, i, layout in pattern.kept if pattern is not None else ():
            if layout is not None and i >= 0 and inputs[i]._storage.exposed:  # this time it may be a copy
                pattern = pattern.keeping(i, inputs[i])
        return follower(node, kind_of(node), len(arguments), sources, described, pattern, verify)

    _keep(op, args, kwargs, first, make)


def learn_view(op: Op, args: tuple, kwargs: dict, results) -> None:
    """Remembers how a call was recorded that gives a view, or several."""
    if whole.written or config.eager or not args or op.outputs and not results or not _comes_again(op, args, kwargs):
        return
    is_view = args[0]._base is not None
    first = results[0] if op.outputs else results
    is_in_window = _is_window(args[0])
    if is_in_window:
        told = "storage_offset" in op.check.__code__.co_varnames  # where to begin, rather than counting from the argument
        if op.outputs or told or results._dtype is not args[0]._dtype or results._grad_fn is not None:
            return
        described = _within(args[0], results)
    else:
        described = tuple([_described(r) for r in results]) if op.outputs else _described(results)
    _keep(
        op,
        args,
        kwargs,
        first,
        lambda pattern: view_follower(described, is_view, pattern, is_in_window, layout_of(args[0]).inference),
    )


def _is_window(x: Tensor) -> bool:
    return (x._layout or layout_of(x)).memory is WINDOW


def _within(x: Tensor, view: Tensor) -> Result:
    """A view of a window, by where it begins in that."""
    layout = layout_of(view) if is_window(view) else None
    return Result(view._shape, view._dtype, view._strides, layout, view._offset - x._offset)


def _comes_again(op: Op, args: tuple, kwargs: dict) -> bool:
    """Whether such a call has been made before and has no recipe yet.

    Writing one down takes several times as long as recording in full, so a call that comes once is only remembered to have come.
    """
    if is_new(op, args):
        skip(op)
        return False
    key = key_of(op, args, kwargs)
    if key is None or key in op.recipes:  # which this time did not know what to do
        return False
    return comes_again(op, key)


PATIENCE = 64
"""Traces until a call is looked at again of which it was not clear how it was recorded."""
OFTEN = 4
"""How often a call comes in one trace until that counts as coming again."""


def comes_again(op: Op, key: tuple) -> bool:
    """Whether a call with that key has been made before: in another trace, since that one came to an end, or often in this one.

    Layers that are alike make the same calls, also in a step whose sizes will not come again. Of calls that were skipped it is
    known how many there were when a layout came up: so many calls with that layout are taken for these.
    """
    before, now = op.seen.get(key), run.taken * OFTEN
    if before is None and op.skipped:
        newest = max([x.born for x in key if x.__class__ is Layout], default=-1)
        if newest < run.taken and (left := op.skipped.get(newest)):
            op.skipped[newest] = left - 1
            return True
    if before is not None:
        if before < now or before == now + OFTEN - 1:
            return True
        op.seen[key] = before + 1
        return False
    if len(op.seen) >= MAX_SEEN:
        op.seen.clear()
    op.seen[key] = now + 1
    return False


def _keep(op: Op, args: tuple, kwargs: dict, result: Tensor, make: Callable) -> None:
    entry = result._grad_fn if grad_mode.enabled else None
    pattern = None if entry is None else dispatch.pattern_of(entry)
    key = key_of(op, args, kwargs)
    if key is None or entry is not None and pattern is None:
        return
    if len(op.recipes) >= MAX_RECIPES:
        op.recipes.clear()
    op.recipes[key] = make(pattern)
    op.seen.pop(key, None)


def _made(content: Node, op: Op) -> Node:
    """The node of a result, without the copy that puts it into another order in memory."""
    return content.inputs[0].inputs[0] if content.op is COPY and op is not COPY else content


def _described(result: Tensor, made: Node | None = None) -> Result:
    steps = () if made is None else _steps(result._storage.node, made)
    return Result(result._shape, result._dtype, result._strides, layout_of(result), result._offset, steps)


def _sources(op: Op, given: tuple, inputs: tuple, made: Node, in_order: bool, is_open: bool) -> tuple[Source, ...] | None:
    """Where each input of the node ``made`` comes from, or ``None`` where that is not clear.

    ``in_order`` if its dims are in the order that they have in memory; ``is_open`` if the recipe is to hold for other
    numbers too.
    """
    found = []
    compute = _compute_dtype(op, made)
    for i, (x, node) in enumerate(zip(inputs, made.inputs, strict=True)):
        places = [k for k, g in enumerate(given) if g is x]
        if len(places) > 1 and x is not None:  # the same twice: the one in its place, or it is not clear which
            places = [k for k in places if k == i]
            if not places:
                return None
        place = places[0] if places else None
        if isinstance(x, Tensor) and _is_window(x):
            steps = _steps_from_leaf(node)
            if place is None or steps is None or steps[0] is x._storage.node:
                return None
            if in_order or steps[0].shape != x._shape:  # it was read with its dims in another order
                return None
            found.append(Source(place, None, steps[1], False, x._base is not None, True))
        elif isinstance(x, Tensor):
            is_copy = node.op is None and x._storage.exposed  # of memory that somebody else may write to
            if is_copy and (in_order or node.shape != x._shape):  # the copy does not say which order that was
                return None
            steps = _own_steps(x) if is_copy else _steps(node, x._storage.node)
            if place is None or steps is None:
                return None
            found.append(Source(place, None, steps, steps == _own_steps(x), x._base is not None))
        elif node is None:
            found.append(Source(None))
        elif place is not None and is_open:
            source = _number(op, place, x, node, compute)
            if source is None:
                return None
            found.append(source)
        elif node is not x:
            return None
        else:
            if is_open and isinstance(x, (int, float, complex)):
                return None  # made from an argument
            found.append(Source(None, x))
    return tuple(found)


def _depends_on_numbers(op: Op, args: tuple, kwargs: dict, sources: tuple[Source, ...]) -> bool:
    """Whether the op's check says something else of other numbers: refuses one, or chooses other settings.

    It is not called again for what follows the recipe. So it is tried with numbers of other signs and sizes, once.
    """
    if _takes_list(op, args):
        return False
    values = [*args, *kwargs.values()]
    for source in sources:
        if source.place is None or source.steps is not None or isinstance(values[source.place], Tensor):
            continue
        low, high = source.limits or (-inf, inf)
        for other in (-1, 0, 1, 100):
            if not low <= other <= high:
                continue
            tried = list(values)
            tried[source.place] = values[source.place].__class__(other)
            try:
                said = op.check(*tried[: len(args)], **dict(zip(kwargs, tried[len(args) :])))
            except Exception:
                return True
            if said[-1] != op.check(*args, **kwargs)[-1]:
                return True
    return False


def _number(op: Op, place: int, x, node, compute: dtypes.dtype) -> Source | None:
    """A number that is an argument: any other that is taken as it is may stand in its place."""
    kind = node.__class__
    if kind is not int and kind is not float:
        return Source(place) if node is x and not op.fits else None
    if node is not x and (not isinstance(x, np.generic) or x.item() != node):
        return None  # wrapped around, or refused next time
    low, high = open_range(kind, compute, op.fits)
    return Source(place, limits=None if low == -high == -inf else (low, high), is_numpy=node is not x)


def _compute_dtype(op: Op, made: Node) -> dtypes.dtype:
    """What numbers are converted to beside tensors."""
    if op.result != "bool":
        return made.dtype
    return next(x.dtype for x in made.inputs if x.__class__ is Node)


def _own_steps(x: Tensor) -> tuple:
    """What stands between a storage's content and a tensor."""
    if (x._layout or layout_of(x)).memory is None:
        return ()
    node = object.__new__(Node)
    node.op, node.inputs, node.shape, node.dtype = VIEW, (x._storage.node,), x._shape, x._dtype
    node.attrs = geometry_of(x)
    return ((VIEW, node.attrs, node.shape, node.dtype, kind_of(node)),)


def _steps(node: Node, base: Node) -> tuple | None:
    """The views and conversions between a storage's content and what a node reads of it."""
    found: list[tuple] = []
    while node is not base:
        if node.__class__ is not Node or node.op not in _MOVES:
            return None
        found.append((node.op, node.attrs, node.shape, node.dtype, kind_of(node)))
        node = node.inputs[0]
    return tuple(found[::-1])


def _steps_from_leaf(node: Node) -> tuple | None:
    """The leaf that a node shows, and the views and conversions in between."""
    base = node
    while base.op is VIEW or base.op is CAST:
        base = base.inputs[0]
    return (base, _steps(node, base)) if base.op is None else None


CAST = to_dtype.op
"""The op of the conversions that recording puts between an argument and a kernel."""
_MOVES = (VIEW, CAST, COPY)


def forget() -> None:
    """Forgets all recipes."""
    for op in registry.values():
        op.recipes.clear()
        op.closed.clear()
        op.seen.clear()
        op.skipped.clear()


dtypes.depending_on_default.append(forget)
dispatch.repeat = repeat
dispatch.layout_of = layout_of
