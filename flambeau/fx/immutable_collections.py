"""Lists and dicts that cannot be changed: the arguments of nodes, whose users are counted when arguments are assigned."""

from __future__ import annotations

from typing import Any

from flambeau.core.nests import register_pytree_node

__all__ = ["immutable_dict", "immutable_list"]


def _refuse(self: Any, *args: Any, **kwargs: Any) -> None:
    raise TypeError(
        f"'{type(self).__name__}' object does not support mutation. If you are attempting to modify the kwargs or args of a "
        "torch.fx.Node object,\ninstead create a new copy of it and assign the copy to the node:\n    new_args = ... "
        "# copy and mutate args\n    node.args = new_args"
    )


class immutable_list(list):
    """A list that cannot be changed.

    >>> from flambeau.fx.immutable_collections import immutable_list
    >>> immutable_list([1, 2]) == [1, 2]
    True
    """

    append = clear = extend = insert = pop = remove = reverse = sort = _refuse  # type: ignore[assignment]
    __delitem__ = __iadd__ = __imul__ = __setitem__ = _refuse  # type: ignore[assignment]

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))

    def __reduce__(self) -> tuple:
        return type(self), (tuple(self),)


class immutable_dict(dict):
    """A dict that cannot be changed."""

    clear = pop = popitem = setdefault = update = _refuse  # type: ignore[assignment]
    __delitem__ = __ior__ = __setitem__ = _refuse  # type: ignore[assignment]

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple:
        return type(self), (dict(self),)


register_pytree_node(immutable_list, lambda x: (list(x), None), lambda parts, _: immutable_list(parts))
register_pytree_node(
    immutable_dict, lambda x: (list(x.values()), list(x)), lambda parts, keys: immutable_dict(zip(keys, parts, strict=True))
)
