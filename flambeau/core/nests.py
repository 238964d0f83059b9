"""Nests of tuples, lists and dicts: taken apart into leaves and put together again."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from flambeau.core.results import ReturnType

__all__ = [
    "Context", "MappingKey", "PyTree", "TreeSpec", "register_pytree_node", "tree_all", "tree_any", "tree_flatten", "tree_iter", "tree_leaves", "tree_map", "tree_map_only",
    "tree_structure", "tree_unflatten",
]  # fmt: skip


Context = PyTree = Any


class MappingKey:
    """Where a part stands in a nest that is like a dict."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key


class TreeSpec:
    """The structure of a nest: the type of each part, what else it takes to make it, and its parts' structures."""

    __slots__ = ("children_specs", "context", "type")

    def __init__(self, type: Any = None, context: Any = None, children_specs: Iterable[TreeSpec] = ()) -> None:
        self.type, self.context, self.children_specs = type, context, list(children_specs)

    @property
    def num_leaves(self) -> int:
        return 1 if self.type is None else sum(child.num_leaves for child in self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        return tree_unflatten(leaves, self)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TreeSpec) and self.type is other.type and self.context == other.context
            and self.children_specs == other.children_specs
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if self.type is None:
            return "*"
        return f"TreeSpec({self.type.__name__}, {self.context}, {self.children_specs})"


_registered: dict[type, tuple[Callable, Callable]] = {
    tuple: (lambda t: (list(t), None), lambda parts, _: tuple(parts)),
    list: (lambda t: (list(t), None), lambda parts, _: list(parts)),
    dict: (lambda t: (list(t.values()), list(t)), lambda parts, keys: dict(zip(keys, parts, strict=True))),
    OrderedDict: (lambda t: (list(t.values()), list(t)), lambda parts, keys: OrderedDict(zip(keys, parts, strict=True))),
    defaultdict: (
        lambda t: (list(t.values()), [t.default_factory, list(t)]),
        lambda parts, context: defaultdict(context[0], zip(context[1], parts, strict=True)),
    ),
}  # fmt: skip
"""For each type of nest: what makes its parts and its context (what else it holds) of it, and it of them again."""


def register_pytree_node(cls: type, flatten_fn: Callable, unflatten_fn: Callable, **settings: Any) -> None:
    """Makes ``cls`` a type of nest: ``flatten_fn(x)`` gives ``(parts, context)``, ``unflatten_fn(parts, context)`` gives x."""
    if cls in _registered:
        raise ValueError(f"{cls} is already registered as pytree node.")
    _registered[cls] = (flatten_fn, unflatten_fn)


_register_pytree_node = register_pytree_node


def _parts(tree: Any) -> tuple[Any, Any, list] | None:
    """The type, context and parts of a nest; ``None`` of a leaf."""
    kind = type(tree)
    if kind in _registered:
        parts, context = _registered[kind][0](tree)
        return kind, context, list(parts)
    if isinstance(tree, tuple) and (hasattr(kind, "_fields") or isinstance(tree, ReturnType)):
        return kind, None, list(tree)
    return None


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list, TreeSpec]:
    """The leaves of a nest, in order, and its structure.

    >>> from flambeau.core.nests import tree_flatten
    >>> leaves, spec = tree_flatten({"a": 1, "b": (2, [3])})
    >>> leaves, spec.unflatten("xyz")
    ([1, 2, 3], {'a': 'x', 'b': ('y', ['z'])})
    """
    parts = None if is_leaf is not None and is_leaf(tree) else _parts(tree)
    if parts is None:
        return [tree], TreeSpec()
    kind, context, children = parts
    leaves: list = []
    specs = []
    for child in children:
        found, spec = tree_flatten(child, is_leaf)
        leaves += found
        specs.append(spec)
    return leaves, TreeSpec(kind, context, specs)


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The nest of the given structure with the given leaves."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(leaves)} but the spec refers to a pytree that holds "
            f"{treespec.num_leaves} items ({treespec})."
        )
    return _made(iter(leaves), treespec)


def _made(leaves: Any, spec: TreeSpec) -> Any:
    if spec.type is None:
        return next(leaves)
    parts = [_made(leaves, child) for child in spec.children_specs]
    if spec.type in _registered:
        return _registered[spec.type][1](parts, spec.context)
    return spec.type(parts) if issubclass(spec.type, ReturnType) else spec.type(*parts)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list:
    return tree_flatten(tree, is_leaf)[0]


tree_iter = tree_leaves


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The nest of ``func`` of the leaves of ``tree``, and of ``rests``, which have the same structure."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [tree_flatten(rest, is_leaf)[0] for rest in rests]
    return tree_unflatten([func(*values) for values in zip(leaves, *others, strict=True)], spec)


def tree_map_only(types: Any, func: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """As :func:`tree_map`, for leaves of certain types; the others stay."""
    return tree_map(lambda x: func(x) if isinstance(x, types) else x, tree, is_leaf=is_leaf)


def tree_spread(prefix: Any, spec: TreeSpec) -> list | None:
    """For each leaf of a structure the leaf of ``prefix`` that stands for it, alone or for the whole part that it is in.

    ``None`` where the structures do not fit.

    >>> from flambeau.core.nests import tree_spread, tree_structure
    >>> tree_spread((0, None), tree_structure(("x", ["y", "z"])))
    [0, None, None]
    """
    parts = _parts(prefix)
    if parts is None:
        return [prefix] * spec.num_leaves
    kind, context, children = parts
    if kind is not spec.type or context != spec.context or len(children) != len(spec.children_specs):
        return None
    found: list = []
    for child, inner in zip(children, spec.children_specs, strict=True):
        more = tree_spread(child, inner)
        if more is None:
            return None
        found += more
    return found


def tree_all(pred: Callable[[Any], bool], tree: Any) -> bool:
    return all(map(pred, tree_leaves(tree)))


def tree_any(pred: Callable[[Any], bool], tree: Any) -> bool:
    return any(map(pred, tree_leaves(tree)))
