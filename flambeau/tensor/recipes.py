"""Repeating a call: what an op made of its arguments once is remembered, and done again in few steps.

Checking arguments, inferring shapes, promoting dtypes and finding out what the tape must keep depend only on the
tensors' *layouts* (shape, strides, dtype, whether a gradient is wanted), on the settings, and on whether gradients are
recorded. So the first call of a kind leaves a :class:`Recipe` with its op, and later ones follow it: they make a node, a
storage, a tensor and an entry on the tape, and nothing else. What a recipe cannot say (values that an op must look at,
memory that NumPy shares) is recorded in full each time.
"""

from __future__ import annotations

from flambeau import dispatch
from flambeau.core import config, dtypes
from flambeau.dispatch import grad_mode
from flambeau.engine import graph
from flambeau.engine.graph import PROJECT, VIEW, Node
from flambeau.engine.run import after_record
from flambeau.engine.trace import kind_of
from flambeau.ops.conversion import to_dtype
from flambeau.ops.record import Op
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor

MAX_RECIPES = 256
"""Of one op: a program whose shapes never repeat begins anew."""

_new = object.__new__


class Layout:
    """All that recording looks at in a tensor but its place in memory; equal layouts are one object."""

    __slots__ = ("dtype", "memory", "offset", "requires_grad", "shape", "strides")

    def __init__(self, shape, strides, offset, dtype, memory, is_view: bool, requires_grad: bool) -> None:
        self.shape, self.strides, self.offset, self.dtype = shape, strides, offset, dtype
        self.memory = memory  # shape and dtype of its storage's content, where that is not its own; else None
        self.requires_grad = requires_grad


_layouts: dict[tuple, Layout] = {}


def layout_of(t: Tensor) -> Layout:
    """The layout of ``t``, which remembers it; whatever changes it sets ``t._layout`` back to ``None``."""
    node = t._storage.node
    plain = t._strides is None and not t._offset and node.shape == t._shape and node.dtype is t._dtype
    requires_grad = t._requires_grad or t.grad_fn is not None
    memory = None if plain else (node.shape, node.dtype)
    key = (t._shape, t._strides, t._offset, t._dtype, memory, t._base is not None, requires_grad)
    found = _layouts.get(key)
    if found is None:
        found = _layouts[key] = Layout(*key)
    t._layout = found
    return found


class Recipe:
    """How a call of ``op`` is done again.

    ``follow``     the function that does it, by the sorts of arguments
    ``sources``    for each of the node's inputs: which argument it is (``None``: a constant), that constant, and the
                   nodes that stand between the argument's storage and it (views, conversions; ``None`` for a number)
    ``rest``       the constants behind the arguments, where each of these is an input as it is
    ``described``  the node's settings, shape, dtype and kind
    ``results``    shape, dtype, strides and layout of the result, or of each of several
    ``projections``  settings and kinds of the nodes that take several results apart; ``None`` where there is one
    ``pattern``    what the tape's entry has in common with those of other such calls; ``None`` for none
    ``tracked``    the places of inputs that are views, whose base may have been written to
    ``offset``     of a view
    """

    __slots__ = ("described", "follow", "offset", "op", "pattern", "projections", "rest", "results", "sources", "tracked")


# --- which recipe --------------------------------------------------------------------------------------------


class _Unclear(Exception):
    """An argument that is no part of a recipe's key."""


def _key(op: Op, args: tuple, kwargs: dict) -> tuple | None:
    """What calls that follow the same recipe have in common."""
    try:
        key: list = [grad_mode.enabled]
        for i, x in enumerate(args):
            key.append(_mark(x, i in op.numbers))
        for name, x in kwargs.items():
            key += (name, _mark(x, name in op.numbers))
    except _Unclear:
        return None
    return tuple(key)


def _mark(x, is_number: bool):
    kind = x.__class__
    if isinstance(x, Tensor):
        return x._layout or layout_of(x)
    if is_number and kind in _NUMBERS:
        return kind  # its value is an input of the node, given at run time
    if kind is int or kind is str or x is None:
        return x
    if kind is float or kind is bool:  # 1, 1.0 and True differ, and so do 0.0 and -0.0
        return kind, repr(x)
    if kind in (tuple, list) or isinstance(x, tuple):
        return tuple([_mark(v, False) if v.__class__ is not tuple else _refuse() for v in x])
    if kind is dtypes.dtype:
        return x
    return _refuse()


def _refuse():
    raise _Unclear


_NUMBERS = (int, float)


def repeat(op: Op, args: tuple, kwargs: dict):
    """The result of a call that has been seen before, in few steps; ``None`` where it must be recorded in full."""
    recipes = op.recipes
    if not recipes or config.eager:
        return None
    n = len(args)
    if kwargs or n > op.by_layout:
        recipe = recipes.get(_key(op, args, kwargs))
        if kwargs:
            args = (*args, *kwargs.values())
    else:
        if n == 2:
            a, b = args
            recipe = recipes.get((getattr(a, "_layout", a.__class__), getattr(b, "_layout", b.__class__), grad_mode.enabled))
        else:
            recipe = recipes.get((getattr(args[0], "_layout", None), grad_mode.enabled))
        if recipe is None and _complete(args):
            return repeat(op, args, kwargs)
    if recipe is None:
        return None
    result = recipe.follow(recipe, args)
    if len(graph.trace) >= config.max_pending_nodes:
        after_record()
    return result


def _complete(args: tuple) -> bool:
    """Finds the layouts that are not known yet; returns whether there were such."""
    found = False
    for x in args:
        if isinstance(x, Tensor) and x._layout is None:
            layout_of(x)
            found = True
    return found


# --- following it --------------------------------------------------------------------------------------------


def _one(recipe: Recipe, args: tuple):
    """A tensor that is all of its storage."""
    s = args[0]._storage
    return None if s.exposed else _recorded(recipe, args, (s.node, *recipe.rest))


def _two(recipe: Recipe, args: tuple):
    """Two such tensors."""
    a, b = args
    s, z = a._storage, b._storage
    return None if s.exposed or z.exposed else _recorded(recipe, args, (s.node, z.node, *recipe.rest))


def _with_number(recipe: Recipe, args: tuple):
    """Such a tensor and a number."""
    s = args[0]._storage
    return None if s.exposed else _recorded(recipe, args, (s.node, args[1], *recipe.rest))


def _any(recipe: Recipe, args: tuple):
    """Any arguments."""
    inputs = []
    nodes = []
    for place, x, steps in recipe.sources:
        if place is not None:
            x = args[place]
        inputs.append(x)
        if steps is not None:
            storage = x._storage
            if storage.exposed:
                return None
            x = storage.node
            for op, attrs, shape, dtype, kind in steps:
                x = Node(op, (x,), attrs, shape, dtype)
                x.kind = kind
        nodes.append(x)
    return _recorded(recipe, inputs, tuple(nodes))


def _recorded(recipe: Recipe, inputs, nodes: tuple):
    for i in recipe.tracked:
        if inputs[i]._history != inputs[i]._storage.history:
            return None
    node = _new(Node)
    node.op, node.inputs, node.attrs, node.shape, node.dtype, node.kind = recipe.op, nodes, *recipe.described
    graph.trace.append(node)
    if recipe.projections is not None:
        return _several(recipe, node, inputs)
    storage = _new(Storage)
    storage.node = node
    result = _new(Tensor)
    result._storage = storage
    result._shape, result._dtype, strides, result._layout = recipe.results
    if strides is not None:
        result._strides = strides
    if recipe.pattern is not None:
        dispatch.enter(recipe.pattern, inputs, result)
    return result


def _several(recipe: Recipe, node: Node, inputs):
    results = []
    for attrs, kind, (shape, dtype, _, layout) in zip(*recipe.projections, recipe.results, strict=True):
        part = Node(PROJECT, (node,), attrs, shape, dtype)
        part.kind = kind
        result = _new(Tensor)
        result._storage = Storage(part)
        result._shape, result._dtype, result._layout = shape, dtype, layout
        results.append(result)
    if recipe.pattern is not None:
        dispatch.enter(recipe.pattern, inputs, tuple(results))
    return recipe.op.tuple_type(results)


def _view(recipe: Recipe, args: tuple):
    """Another view of the first argument's storage."""
    input = args[0]
    storage = input._storage
    if recipe.tracked and input._history != storage.history:
        return None
    result = _new(Tensor)
    result._storage = storage
    result._shape, result._dtype, strides, result._layout = recipe.results
    if strides is not None:
        result._strides = strides
    if recipe.offset:
        result._offset = recipe.offset
    base = input._base
    result._base = input if base is None else base
    if storage.history:
        result._history = storage.history
    if recipe.pattern is not None:
        dispatch.enter(recipe.pattern, (input,), result)
    return result


# --- writing it down -----------------------------------------------------------------------------------------


def learn(op: Op, args: tuple, kwargs: dict, inputs: tuple, results) -> None:
    """Remembers how a call was recorded, if that follows from its layouts and settings alone."""
    if op.checked or op.eager or config.eager:
        return
    several = bool(op.outputs)
    first = results[0] if several else results
    node = first._storage.node.inputs[0] if several and first._storage.node.inputs else first._storage.node
    if node.op is not op or not node.inputs:
        return  # it has run already, or the result is none of its own
    given = (*args, *kwargs.values())
    if any(isinstance(g, Tensor) and not any(g is x for x in inputs) for g in given):
        return  # its values have been looked at
    sources = _sources(op, given, inputs, node.inputs)
    if sources is None:
        return
    recipe = Recipe()
    recipe.op, recipe.sources, recipe.projections = op, sources, None
    recipe.described = node.attrs, node.shape, node.dtype, kind_of(node)
    recipe.follow, recipe.rest = _form(sources, len(args), kwargs, inputs)
    recipe.tracked = tuple([i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x._base is not None])
    if several:
        parts = [r._storage.node for r in results]
        recipe.projections = [p.attrs for p in parts], [kind_of(p) for p in parts]
        recipe.results = tuple([_described(r) for r in results])
    else:
        recipe.results = _described(results)
    _keep(recipe, first, _key_of_call(op, args, kwargs))


_FORMS = {(0,): _one, (0, 0): _two, (0, None): _with_number}
"""By how many nodes stand between each argument and the input that it is; ``None`` for a number."""


def _form(sources: tuple, count: int, kwargs: dict, inputs: tuple) -> tuple:
    """Which function follows a recipe, and the constants behind the arguments."""
    in_order = not kwargs and [place for place, *_ in sources] == [*range(count), *[None] * (len(sources) - count)]
    lengths = tuple([steps if steps is None else len(steps) for *_, steps in sources[:count]])
    found = _FORMS.get(lengths) if in_order else None
    rest = tuple([x for _, x, _ in sources[count:]])
    return (_any, ()) if found is None or any(x is not None for x in rest) else (found, rest)


def learn_view(op: Op, args: tuple, kwargs: dict, result: Tensor) -> None:
    """The same for a view."""
    if op.outputs or config.eager or not args or any(isinstance(x, Tensor) for x in (*args[1:], *kwargs.values())):
        return
    recipe = Recipe()
    recipe.op, recipe.follow, recipe.offset = op, _view, result._offset
    recipe.tracked = (0,) if args[0]._base is not None else ()
    recipe.results = _described(result)
    _keep(recipe, result, _key_of_call(op, args, kwargs))


def _keep(recipe: Recipe, result: Tensor, key: tuple | None) -> None:
    entry = result._grad_fn if grad_mode.enabled else None
    recipe.pattern = None if entry is None else dispatch.pattern_of(entry)
    if key is None or entry is not None and recipe.pattern is None:
        return
    recipes = recipe.op.recipes
    if len(recipes) >= MAX_RECIPES:
        recipes.clear()
    recipes[key] = recipe


def _key_of_call(op: Op, args: tuple, kwargs: dict) -> tuple | None:
    if not kwargs and len(args) <= op.by_layout:
        marks = [x._layout or layout_of(x) if isinstance(x, Tensor) else x.__class__ for x in args]
        return (*marks, grad_mode.enabled)
    return _key(op, args, kwargs)


def _described(result: Tensor) -> tuple:
    return result._shape, result._dtype, result._strides, layout_of(result)


def _sources(op: Op, given: tuple, inputs: tuple, nodes: tuple) -> tuple | None:
    found = []
    for i, (x, node) in enumerate(zip(inputs, nodes, strict=True)):
        places = [k for k, g in enumerate(given) if g is x]
        if len(places) > 1 and x is not None:  # the same twice: the one in its place, or it is not clear which
            places = [k for k in places if k == i]
            if not places:
                return None
        place = places[0] if places else None
        if isinstance(x, Tensor):
            steps = _steps(node, x._storage.node)
            if place is None or steps is None:
                return None
            found.append((place, None, steps))
        elif node is None:
            found.append((None, None, None))
        elif node is not x:
            return None
        elif place is not None and op.numbers:
            found.append((place, None, None))
        else:
            if op.numbers and x.__class__ in _NUMBERS:  # made from an argument: from now on its value is part of the key
                op.by_layout, op.numbers = 1, frozenset()
                op.recipes.clear()
            found.append((None, x, None))
    return tuple(found)


def _steps(node: Node, base: Node) -> tuple | None:
    """The views and conversions between a storage's content and what a node reads of it."""
    found: list[tuple] = []
    while node is not base:
        if node.__class__ is not Node or node.op is not VIEW and node.op is not CAST:
            return None
        found.append((node.op, node.attrs, node.shape, node.dtype, kind_of(node)))
        node = node.inputs[0]
    return tuple(found[::-1])


CAST = to_dtype.op

dispatch.repeat = repeat
dispatch.layout_of = layout_of
