"""``torch.utils._pytree``: nests with the places of their leaves, classes of users' as nests, structures as text.

Taking nests apart and putting them together is in :mod:`flambeau.core.nests`.
Source: https://docs.pytorch.org/docs/stable/pytree.html
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import defaultdict, namedtuple
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flambeau.core import nests
from flambeau.core.nests import *  # noqa: F403
from flambeau.core.nests import (
    BUILTIN_TYPES,
    SUPPORTED_NODES,
    GetAttrKey,
    IsLeaf,
    KeyPath,
    SequenceKey,
    TreeSpec,
    register_pytree_node,
    tree_flatten,
    tree_is_leaf,
    tree_unflatten,
    treespec_leaf,
)

__all__ = [
    *nests.__all__, "ConstantNode", "is_constant_class", "key_get", "keystr", "register_constant", "register_dataclass",
    "tree_flatten_with_path", "tree_leaves_with_path", "tree_map_with_path", "treespec_dumps", "treespec_loads", "treespec_pprint",
]  # fmt: skip

_register_pytree_node = _private_register_pytree_node = register_pytree_node
_broadcast_to_and_flatten, _get_node_type = nests.tree_spread, nests._get_node_type
_dict_flatten, _dict_unflatten = nests._dict_flatten, nests._dict_unflatten
_list_flatten, _list_unflatten = nests._list_flatten, nests._list_unflatten
_tuple_flatten, _tuple_unflatten = nests._tuple_flatten, nests._tuple_unflatten
_ordereddict_flatten, _ordereddict_unflatten = nests._ordereddict_flatten, nests._ordereddict_unflatten
_odict_flatten, _odict_unflatten = nests._ordereddict_flatten, nests._ordereddict_unflatten
_namedtuple_flatten, _namedtuple_unflatten = nests._namedtuple_flatten, nests._namedtuple_unflatten
_dict_flatten_with_keys, _list_flatten_with_keys = nests._dict_flatten_with_keys, nests._list_flatten_with_keys
_ordereddict_flatten_with_keys = nests._ordereddict_flatten_with_keys
_is_leaf, _is_namedtuple_instance = tree_is_leaf, nests.is_namedtuple_instance
PyTreeSpec = TreeSpec


def _deregister_pytree_node(cls: type) -> None:
    del SUPPORTED_NODES[cls]
    nests.texts.pop(cls, None)


# --- places --------------------------------------------------------------------------------------------------


def tree_flatten_with_path(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[tuple[KeyPath, Any]], TreeSpec]:
    """The leaves of a nest, each with the keys that lead to it, and the nest's structure.

    >>> from flambeau.utils._pytree import keystr, tree_flatten_with_path
    >>> [(keystr(path), leaf) for path, leaf in tree_flatten_with_path({"a": [1, 2]})[0]]
    [("['a'][0]", 1), ("['a'][1]", 2)]
    """
    return tree_leaves_with_path(tree, is_leaf), tree_flatten(tree, is_leaf)[1]


def tree_leaves_with_path(tree: Any, is_leaf: IsLeaf = None) -> list[tuple[KeyPath, Any]]:
    """The leaves of a nest, each with the keys that lead to it."""
    found: list = []
    _walk((), tree, is_leaf, found)
    return found


def _walk(path: tuple, tree: Any, is_leaf: IsLeaf, found: list) -> None:
    if tree_is_leaf(tree, is_leaf):
        found.append((path, tree))
        return
    kind = nests._get_node_type(tree)
    node = SUPPORTED_NODES.get(kind)
    if node is None:  # the tuple of an op's results
        parts: Iterable = [(SequenceKey(i), part) for i, part in enumerate(tree)]
    elif node.flatten_with_keys_fn is None:
        raise ValueError(
            f"Did not find a flatten_with_keys_fn for type: {kind}. Please pass a flatten_with_keys_fn argument to register_pytree_node."
        )
    else:
        parts = node.flatten_with_keys_fn(tree)[0]
    for key, part in parts:
        _walk((*path, key), part, is_leaf, found)


def tree_map_with_path(func: Callable, tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """As ``tree_map``, where ``func`` is also told, first, the keys that lead to each leaf."""
    found, spec = tree_flatten_with_path(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return tree_unflatten([func(*part, *more) for part, *more in zip(found, *others, strict=True)], spec)


def keystr(kp: KeyPath) -> str:
    """The keys of a path as one writes them in Python."""
    return "".join(map(str, kp))


def key_get(obj: Any, kp: KeyPath) -> Any:
    """What a path leads to."""
    for key in kp:
        obj = key.get(obj)
    return obj


# --- classes of users' ---------------------------------------------------------------------------------------


def register_dataclass(
    cls: type,
    *,
    field_names: list[str] | None = None,
    drop_field_names: list[str] | None = None,
    serialized_type_name: str | None = None,
) -> None:
    """Makes a dataclass a type of nest: its fields are the parts, but for those in ``drop_field_names``.

    Fields that are ``None`` are no parts.
    """
    if field_names is None:
        if not dataclasses.is_dataclass(cls):
            raise ValueError(
                "field_names must be specified with a list of all fields used to initialize the class, as it is not a dataclass."
            )
        field_names = [field.name for field in dataclasses.fields(cls) if field.init]
    names = [name for name in field_names if name not in (drop_field_names or ())]
    if dataclasses.is_dataclass(cls):
        given = {field.name for field in dataclasses.fields(cls) if field.init}
        optional = {
            f.name
            for f in dataclasses.fields(cls)
            if f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
        }
        missing, extra = given - {*names, *(drop_field_names or ())}, set(names) - given
        if missing or extra or not set(drop_field_names or ()) <= optional:
            raise ValueError(f"{cls}: fields that are neither named nor dropped: {sorted(missing)}; names of no field: {sorted(extra)}; "
                             "a dropped field needs a default value.")  # fmt: skip

    def flatten(x: Any) -> tuple[list, Any]:
        parts = [(name, getattr(x, name)) for name in names]
        there = [(name, part) for name, part in parts if part is not None]
        return [part for _, part in there], [[name for name, _ in there], [name for name, part in parts if part is None]]

    def unflatten(parts: Iterable[Any], context: Any) -> Any:
        return cls(**dict(zip(context[0], parts, strict=True)), **dict.fromkeys(context[1]))

    def flatten_with_keys(x: Any) -> tuple[list, Any]:
        parts, context = flatten(x)
        return [(GetAttrKey(name), part) for name, part in zip(context[0], parts, strict=True)], context

    register_pytree_node(cls, flatten, unflatten, serialized_type_name=serialized_type_name, flatten_with_keys_fn=flatten_with_keys)


class ConstantNode(NamedTuple):
    """The context of an object that is a constant: the object itself."""

    value: Any


CONSTANT_NODES: set[type] = set()


def register_constant(cls: type) -> None:
    """Makes objects of ``cls`` parts of the structure, not leaves; they must be comparable and hashable."""
    if cls.__eq__ is object.__eq__:
        raise TypeError("register_constant(cls) expects `cls` to have a non-default `__eq__` implementation.")
    if cls.__hash__ is None:
        raise TypeError("register_constant(cls) expects `cls` to have a non-default `__hash__` implementation.")
    register_pytree_node(
        cls,
        lambda x: ([], ConstantNode(x)),
        lambda parts, context: context.value,
        flatten_with_keys_fn=lambda x: ([], ConstantNode(x)),
    )
    CONSTANT_NODES.add(cls)


def is_constant_class(cls: type) -> bool:
    """Whether :func:`register_constant` has been told of it."""
    return isinstance(cls, type) and cls in CONSTANT_NODES


# --- text ----------------------------------------------------------------------------------------------------

DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL = 1


def _type_name(kind: Any) -> str:
    name = nests.texts.get(kind, (None,))[0]
    return name or f"{kind.__module__}.{kind.__qualname__}"


def _as_text(spec: TreeSpec) -> dict:
    if spec.is_leaf():
        return {"type": None, "context": None, "children_spec": []}
    kind, context = spec.type, spec.context
    if kind not in SUPPORTED_NODES:
        raise NotImplementedError(f"Serializing {kind} in pytree is not registered.")
    dump = nests.texts.get(kind, (None, None))[1]
    told: Any
    if dump is not None:
        told = dump(context)
    elif kind is namedtuple:
        if nests.texts.get(context) is None:
            raise NotImplementedError(
                f"Can't serialize TreeSpec of namedtuple class {context} because we didn't register a serializated_type_name. "
                "Please register using `_register_namedtuple`."
            )
        told = nests.texts[context][0]
    elif kind is defaultdict:
        factory = context[0]
        told = {
            "default_factory_module": factory.__module__,
            "default_factory_name": factory.__qualname__,
            "dict_context": context[1],
        }
    elif kind not in BUILTIN_TYPES and nests.texts.get(kind, (None,))[0] is None:
        raise NotImplementedError(
            f"No registered serialization name for {kind} found. Please pass a serialized_type_name to register_pytree_node."
        )
    else:
        try:
            told = json.dumps(context)
        except TypeError as error:
            raise TypeError(
                f"Unable to serialize context. Please make the context json dump-able, or register a custom serializer: {error}"
            ) from None
    return {"type": _type_name(kind), "context": told, "children_spec": [_as_text(child) for child in spec.children_specs]}


def treespec_dumps(treespec: TreeSpec, protocol: int | None = None) -> str:
    """A structure as text."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(
            f"treespec_dumps(treespec, protocol): Expected `treespec` to be instance of TreeSpec but got item of type {type(treespec)}."
        )
    if protocol not in (None, DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL):
        raise ValueError(f"Unknown protocol {protocol}. Available protocols: [{DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL}]")
    return json.dumps((DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL, _as_text(treespec)))


def _register_namedtuple(cls: type, *, serialized_type_name: str) -> None:
    """Gives a class of named tuples the name that it has in the text of structures."""
    nests.texts[cls] = (serialized_type_name, None, None)


def _named(module: str, name: str) -> Any:
    """A class that the program has imported already: text imports nothing."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        raise NotImplementedError(f"there is no class {module}.{name} in what the program has imported")
    return found


def _from_text(told: dict) -> TreeSpec:
    if told["type"] is None:
        return treespec_leaf()
    known = {_type_name(kind): kind for kind in SUPPORTED_NODES}
    if told["type"] not in known:
        raise NotImplementedError(f"Deserializing {told['type']} in pytree is not registered.")
    kind = known[told["type"]]
    load = nests.texts.get(kind, (None, None, None))[2]
    context = load(told["context"]) if load is not None else told["context"]
    if kind is namedtuple:
        context = next(cls for cls, text in nests.texts.items() if text[0] == context)
    elif kind is defaultdict:
        context = [_named(context["default_factory_module"], context["default_factory_name"]), context["dict_context"]]
    elif load is None:
        context = json.loads(context)
    return TreeSpec(kind, context, [_from_text(child) for child in told["children_spec"]])


def treespec_loads(serialized: str) -> TreeSpec:
    """The structure that :func:`treespec_dumps` has written."""
    protocol, told = json.loads(serialized)
    if protocol != DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL:
        raise ValueError(f"Unknown protocol {protocol}. Available protocols: [{DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL}]")
    return _from_text(told)


def treespec_pprint(treespec: TreeSpec) -> str:
    """A structure as a nest of stars."""
    return repr(treespec.unflatten(_Star() for _ in range(treespec.num_leaves)))


class _Star:
    def __repr__(self) -> str:
        return "*"
