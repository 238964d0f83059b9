"""Nests of tuples, lists and dicts: taken apart into leaves and put together again.

Source: https://docs.pytorch.org/docs/stable/pytree.html
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator
from types import UnionType
from typing import Any, NamedTuple, TypeAlias

from flambeau.core.results import ReturnType

__all__ = [
    "Context", "GetAttrKey", "KeyEntry", "KeyPath", "LeafSpec", "MappingKey", "NodeDef", "PyTree", "SUPPORTED_NODES", "SequenceKey", "TreeSpec",
    "arg_tree_leaves", "is_namedtuple", "is_namedtuple_class", "is_namedtuple_instance", "is_structseq", "is_structseq_class",
    "is_structseq_instance", "map_only", "register_pytree_node", "tree_all", "tree_all_only", "tree_any", "tree_any_only", "tree_flatten",
    "tree_is_leaf", "tree_iter", "tree_leaves", "tree_map", "tree_map_", "tree_map_only", "tree_map_only_", "tree_structure", "tree_unflatten",
    "treespec_dict", "treespec_leaf", "treespec_tuple",
]  # fmt: skip


Context = PyTree = Any
KeyEntry: TypeAlias = Any
KeyPath = tuple[KeyEntry, ...]
IsLeaf = Callable[[Any], bool] | None


# --- where a part stands -------------------------------------------------------------------------------------


class _Key:
    """Where a part stands in a nest; two of a kind are equal if what they hold is."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._held() == other._held()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self._held())

    def _held(self) -> Any:
        return getattr(self, self.__slots__[0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.__slots__[0]}={self._held()!r})"


class SequenceKey(_Key):
    """A place in a list or tuple."""

    __slots__ = ("idx",)

    def __init__(self, idx: int) -> None:
        self.idx = idx

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def get(self, sequence: Any) -> Any:
        return sequence[self.idx]


class MappingKey(_Key):
    """A key of a nest that is like a dict."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def get(self, mapping: Any) -> Any:
        return mapping[self.key]


class GetAttrKey(_Key):
    """The name of an attribute."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f".{self.name}"

    def get(self, obj: Any) -> Any:
        return getattr(obj, self.name)


# --- structures ----------------------------------------------------------------------------------------------


class TreeSpec:
    """The structure of a nest: the type of each part, what else it takes to make it, and its parts' structures."""

    __slots__ = ("_context", "_kind", "children_specs", "num_children", "num_leaves", "num_nodes")

    num_children: int
    num_leaves: int
    num_nodes: int

    def __init__(self, type: Any = None, context: Any = None, children_specs: Iterable[TreeSpec] = ()) -> None:
        self._kind, self._context, self.children_specs = type, context, list(children_specs)
        self.num_children = len(self.children_specs)
        self.num_nodes = 1 + sum([child.num_nodes for child in self.children_specs])
        self.num_leaves = 1 if type is None else sum([child.num_leaves for child in self.children_specs])

    @property
    def type(self) -> Any:
        return self._kind

    @property
    def context(self) -> Any:
        return self._context

    def is_leaf(self) -> bool:
        return self._kind is None

    def children(self) -> list[TreeSpec]:
        return list(self.children_specs)

    def child(self, index: int) -> TreeSpec:
        return self.children_specs[index]

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        return tree_unflatten(leaves, self)

    def flatten_up_to(self, tree: Any) -> list:
        """The parts of ``tree`` in the places of this structure's leaves; ``ValueError`` where it has another structure."""
        found: list = []
        self._flatten_up_to(tree, found)
        return found

    def _flatten_up_to(self, tree: Any, found: list) -> None:
        if self._kind is None:
            found.append(tree)
            return
        node = _parts(tree)
        kind = None if node is None else node[0]
        dicts = (dict, OrderedDict, defaultdict)
        if node is None or kind is not self._kind and not (kind in dicts and self._kind in dicts):
            raise ValueError(f"Type mismatch;\nexpected {self._kind!r},\nbut got {type(tree)!r}.")
        parts = node[2]
        if kind in dicts:
            keys = self._context[1] if self._kind is defaultdict else self._context
            if set(keys) != set(tree):
                raise ValueError(f"Node keys mismatch; missing key(s): {sorted(set(keys) - set(tree), key=repr)}, extra key(s): "
                                 f"{sorted(set(tree) - set(keys), key=repr)}.")  # fmt: skip
            parts = [tree[key] for key in keys]
        elif len(parts) != self.num_children:
            raise ValueError(f"Node arity mismatch; expected {self.num_children}, but got {len(parts)}.")
        elif kind is not deque and node[1] != self._context:  # a deque's context is its maximal length
            raise ValueError(f"Node context mismatch for custom node type {self._kind!r}.")
        for child, part in zip(self.children_specs, parts, strict=True):
            child._flatten_up_to(part, found)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, TreeSpec) and self._kind is other._kind and self._context == other._context
            and self.children_specs == other.children_specs
        )  # fmt: skip

    def __hash__(self) -> int:
        context = self._context
        if isinstance(context, list):
            context = tuple(context)
        elif self._kind is defaultdict:
            context = (context[0], tuple(context[1]))
        return hash((self._kind, context, tuple(self.children_specs)))

    def __repr__(self, indent: int = 0) -> str:
        if self._kind is None:
            return "*"
        head = f"TreeSpec({self._kind.__name__}, {self._context}, ["
        inner = indent + 2
        parts = [child.__repr__(inner) for child in self.children_specs]
        first = parts[0] if parts else ""
        rest = "".join([f",\n{' ' * inner}{part}" for part in parts[1:]])
        return f"{head}{first}{rest}])"

    def __reduce__(self) -> tuple:
        return type(self), (self._kind, self._context, self.children_specs)


class _LeafType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, TreeSpec) and instance.is_leaf()


class LeafSpec(TreeSpec, metaclass=_LeafType):
    """The structure of a leaf; ``isinstance(spec, LeafSpec)`` is ``spec.is_leaf()``."""

    __slots__ = ()

    def __init__(self, type: Any = None, context: Any = None, children_specs: Iterable[TreeSpec] = ()) -> None:
        super().__init__(None, None, ())


_LEAF = LeafSpec()


def treespec_leaf() -> TreeSpec:
    """The structure of a leaf."""
    return _LEAF


def treespec_tuple(iterable: Iterable[TreeSpec] = (), /) -> TreeSpec:
    """The structure of a tuple of parts with the given structures."""
    return TreeSpec(tuple, None, iterable)


def treespec_dict(mapping: Any = (), /, **kwargs: TreeSpec) -> TreeSpec:
    """The structure of a dict of parts with the given structures."""
    found = dict(mapping, **kwargs)
    return TreeSpec(dict, list(found), found.values())


# --- types of nests ------------------------------------------------------------------------------------------


class NodeDef(NamedTuple):
    """How nests of a type are taken apart and put together: ``flatten_fn(x)`` gives parts and context."""

    type: Any
    flatten_fn: Callable[[Any], tuple[Any, Any]]
    unflatten_fn: Callable[[Any, Any], Any]
    flatten_with_keys_fn: Callable[[Any], tuple[Any, Any]] | None = None


def _list_flatten(d: Any) -> tuple[list, Any]:
    return list(d), None


def _list_unflatten(values: Iterable[Any], context: Any) -> list:
    return list(values)


def _tuple_unflatten(values: Iterable[Any], context: Any) -> tuple:
    return tuple(values)


def _list_flatten_with_keys(d: Any) -> tuple[list, Any]:
    return [(SequenceKey(i), part) for i, part in enumerate(d)], None


_tuple_flatten, _tuple_flatten_with_keys = _list_flatten, _list_flatten_with_keys


def _dict_flatten(d: dict) -> tuple[list, Any]:
    return list(d.values()), list(d)


def _dict_unflatten(values: Iterable[Any], context: Any) -> dict:
    return dict(zip(context, values, strict=True))


def _dict_flatten_with_keys(d: dict) -> tuple[list, Any]:
    return [(MappingKey(key), part) for key, part in d.items()], list(d)


def _ordereddict_unflatten(values: Iterable[Any], context: Any) -> OrderedDict:
    return OrderedDict(zip(context, values, strict=True))


_ordereddict_flatten, _ordereddict_flatten_with_keys = _dict_flatten, _dict_flatten_with_keys


def _defaultdict_flatten(d: defaultdict) -> tuple[list, Any]:
    return list(d.values()), [d.default_factory, list(d)]


def _defaultdict_unflatten(values: Iterable[Any], context: Any) -> defaultdict:
    return defaultdict(context[0], zip(context[1], values, strict=True))


def _defaultdict_flatten_with_keys(d: defaultdict) -> tuple[list, Any]:
    return _dict_flatten_with_keys(d)[0], [d.default_factory, list(d)]


def _deque_flatten(d: deque) -> tuple[list, Any]:
    return list(d), d.maxlen


def _deque_unflatten(values: Iterable[Any], context: Any) -> deque:
    return deque(values, maxlen=context)


def _deque_flatten_with_keys(d: deque) -> tuple[list, Any]:
    return _list_flatten_with_keys(d)[0], d.maxlen


def _namedtuple_flatten(d: Any) -> tuple[list, Any]:
    return list(d), type(d)


def _namedtuple_unflatten(values: Iterable[Any], context: Any) -> Any:
    return context(*values)


def _namedtuple_flatten_with_keys(d: Any) -> tuple[list, Any]:
    return [(GetAttrKey(name), part) for name, part in zip(d._fields, d, strict=True)], type(d)


SUPPORTED_NODES: dict[Any, NodeDef] = {
    node.type: node
    for node in (
        NodeDef(tuple, _tuple_flatten, _tuple_unflatten, _tuple_flatten_with_keys),
        NodeDef(list, _list_flatten, _list_unflatten, _list_flatten_with_keys),
        NodeDef(dict, _dict_flatten, _dict_unflatten, _dict_flatten_with_keys),
        NodeDef(namedtuple, _namedtuple_flatten, _namedtuple_unflatten, _namedtuple_flatten_with_keys),
        NodeDef(OrderedDict, _ordereddict_flatten, _ordereddict_unflatten, _ordereddict_flatten_with_keys),
        NodeDef(defaultdict, _defaultdict_flatten, _defaultdict_unflatten, _defaultdict_flatten_with_keys),
        NodeDef(deque, _deque_flatten, _deque_unflatten, _deque_flatten_with_keys),
    )
}
"""The types of nests; named tuples and the tuples that ops return stand for themselves."""

BUILTIN_TYPES = frozenset(SUPPORTED_NODES)


def register_pytree_node(
    cls: type, flatten_fn: Callable, unflatten_fn: Callable, *, serialized_type_name: str | None = None,
    to_dumpable_context: Callable | None = None, from_dumpable_context: Callable | None = None,
    flatten_with_keys_fn: Callable | None = None,
) -> None:  # fmt: skip
    """Makes ``cls`` a type of nest: ``flatten_fn(x)`` gives ``(parts, context)``, ``unflatten_fn(parts, context)`` gives x.

    ``flatten_with_keys_fn(x)`` gives ``([(key, part), ...], context)``; the rest says how structures are written as text.
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    if (to_dumpable_context is None) is not (from_dumpable_context is None):
        raise ValueError(f"Both to_dumpable_context and from_dumpable_context for {cls} must be None or registered.")
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn, flatten_with_keys_fn)
    texts[cls] = (serialized_type_name, to_dumpable_context, from_dumpable_context)


texts: dict[Any, tuple[str | None, Callable | None, Callable | None]] = {}
"""For each registered type its name in text, and what makes text of its context, and a context of that again."""

_register_pytree_node = register_pytree_node


def is_namedtuple_class(cls: Any) -> bool:
    """Whether it is a class of named tuples."""
    return (
        isinstance(cls, type)
        and issubclass(cls, tuple)
        and isinstance(getattr(cls, "_fields", None), tuple)
        and not issubclass(cls, ReturnType)
    )


def is_namedtuple_instance(obj: Any) -> bool:
    """Whether it is a named tuple."""
    return is_namedtuple_class(type(obj))


def is_namedtuple(obj: Any) -> bool:
    """Whether it is a named tuple, or a class of them."""
    return is_namedtuple_class(obj if isinstance(obj, type) else type(obj))


def is_structseq_class(cls: Any) -> bool:
    """Whether it is a class of the tuples that ops return."""
    return isinstance(cls, type) and (issubclass(cls, ReturnType) or isinstance(getattr(cls, "n_sequence_fields", None), int))


def is_structseq_instance(obj: Any) -> bool:
    return is_structseq_class(type(obj))


def is_structseq(obj: Any) -> bool:
    return is_structseq_class(obj if isinstance(obj, type) else type(obj))


def _get_node_type(tree: Any) -> Any:
    kind: Any = type(tree)
    return namedtuple if kind not in SUPPORTED_NODES and is_namedtuple_class(kind) else kind


def _parts(tree: Any) -> tuple[Any, Any, list] | None:
    """The type, context and parts of a nest; ``None`` of a leaf."""
    kind: Any = type(tree)
    if kind not in SUPPORTED_NODES:
        if not isinstance(tree, tuple):
            return None
        if isinstance(tree, ReturnType):
            return kind, None, list(tree)
        if not hasattr(kind, "_fields"):
            return None
        kind = namedtuple
    parts, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    return kind, context, list(parts)


# --- taking apart, putting together --------------------------------------------------------------------------


def tree_is_leaf(tree: Any, is_leaf: IsLeaf = None) -> bool:
    """Whether ``tree`` is a leaf: of no type of nest, or one by ``is_leaf``."""
    return is_leaf is not None and is_leaf(tree) or _parts(tree) is None


def tree_flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list, TreeSpec]:
    """The leaves of a nest, in order, and its structure.

    >>> from flambeau.core.nests import tree_flatten
    >>> leaves, spec = tree_flatten({"a": 1, "b": (2, [3])})
    >>> leaves, spec.unflatten("xyz")
    ([1, 2, 3], {'a': 'x', 'b': ('y', ['z'])})
    """
    leaves: list = []
    return leaves, _flatten(tree, is_leaf, leaves)


def _flatten(tree: Any, is_leaf: IsLeaf, leaves: list) -> TreeSpec:
    parts = None if is_leaf is not None and is_leaf(tree) else _parts(tree)
    if parts is None:
        leaves.append(tree)
        return _LEAF
    kind, context, children = parts
    return TreeSpec(kind, context, [_flatten(child, is_leaf, leaves) for child in children])


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The nest of the given structure with the given leaves."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(
            f"tree_unflatten(leaves, treespec): Expected `treespec` to be instance of TreeSpec but got item of type {type(treespec)}."
        )
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(leaves)} but the spec refers to a pytree that holds "
            f"{treespec.num_leaves} items ({treespec})."
        )
    return _made(iter(leaves), treespec)


def _made(leaves: Any, spec: TreeSpec) -> Any:
    kind = spec._kind
    if kind is None:
        return next(leaves)
    parts = [_made(leaves, child) for child in spec.children_specs]
    if kind in SUPPORTED_NODES:
        return SUPPORTED_NODES[kind].unflatten_fn(parts, spec._context)
    return kind(parts)


def tree_leaves(tree: Any, is_leaf: IsLeaf = None) -> list:
    """The leaves of a nest, in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_iter(tree: Any, is_leaf: IsLeaf = None) -> Iterator[Any]:
    """The leaves of a nest, one after the other."""
    parts = None if is_leaf is not None and is_leaf(tree) else _parts(tree)
    if parts is None:
        yield tree
    else:
        for child in parts[2]:
            yield from tree_iter(child, is_leaf)


def arg_tree_leaves(*args: Any, **kwargs: Any) -> list:
    """The leaves of all arguments."""
    return [leaf for part in (*args, *kwargs.values()) for leaf in tree_leaves(part)]


def tree_structure(tree: Any, is_leaf: IsLeaf = None) -> TreeSpec:
    """The structure of a nest."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """The nest of ``func`` of the leaves of ``tree``, and of what stands in their places in ``rests``."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return tree_unflatten([func(*values) for values in zip(leaves, *others, strict=True)], spec)


def tree_map_(func: Callable, tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """Calls ``func`` as :func:`tree_map` does, and returns ``tree``."""
    leaves, spec = tree_flatten(tree, is_leaf)
    for values in zip(leaves, *[spec.flatten_up_to(rest) for rest in rests], strict=True):
        func(*values)
    return tree


def _predicate(types: Any) -> Callable[[Any], bool]:
    if isinstance(types, (type, tuple, UnionType)):
        return lambda x: isinstance(x, types)
    if callable(types):
        return types
    raise TypeError("Argument must be a type, a tuple of types, or a callable.")


def map_only(type_or_types_or_pred: Any, /) -> Callable[[Callable], Callable]:
    """Makes of a function one that is applied to objects of certain types only, and returns all others as they are."""
    chosen = _predicate(type_or_types_or_pred)

    def wrapper(func: Callable) -> Callable:
        return lambda x: func(x) if chosen(x) else x

    return wrapper


def tree_map_only(type_or_types_or_pred: Any, /, func: Callable, tree: Any, is_leaf: IsLeaf = None) -> Any:
    """As :func:`tree_map`, for leaves of certain types; the others stay."""
    return tree_map(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_map_only_(type_or_types_or_pred: Any, /, func: Callable, tree: Any, is_leaf: IsLeaf = None) -> Any:
    """As :func:`tree_map_`, for leaves of certain types."""
    return tree_map_(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_spread(prefix: Any, spec: TreeSpec, is_leaf: IsLeaf = None) -> list | None:
    """For each leaf of a structure the leaf of ``prefix`` that stands for it, alone or for the whole part that it is in.

    ``None`` where the structures do not fit.

    >>> from flambeau.core.nests import tree_spread, tree_structure
    >>> tree_spread((0, None), tree_structure(("x", ["y", "z"])))
    [0, None, None]
    """
    parts = None if is_leaf is not None and is_leaf(prefix) else _parts(prefix)
    if parts is None:
        return [prefix] * spec.num_leaves
    kind, context, children = parts
    if kind is not spec._kind or context != spec._context or len(children) != spec.num_children:
        return None
    found: list = []
    for child, inner in zip(children, spec.children_specs, strict=True):
        more = tree_spread(child, inner, is_leaf)
        if more is None:
            return None
        found += more
    return found


_broadcast_to_and_flatten = tree_spread


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    """Whether ``pred`` holds for all leaves."""
    return all(map(pred, tree_iter(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    """Whether ``pred`` holds for a leaf."""
    return any(map(pred, tree_iter(tree, is_leaf)))


def tree_all_only(type_or_types: Any, /, pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    """Whether ``pred`` holds for all leaves of certain types."""
    return all(pred(x) for x in tree_iter(tree, is_leaf) if isinstance(x, type_or_types))


def tree_any_only(type_or_types: Any, /, pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    """Whether ``pred`` holds for a leaf of certain types."""
    return any(pred(x) for x in tree_iter(tree, is_leaf) if isinstance(x, type_or_types))
