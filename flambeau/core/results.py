"""Tuples of results with names: ``torch.return_types.max(values=..., indices=...)``."""

from __future__ import annotations

import functools
import operator

from flambeau.core import config


class ReturnType(tuple):
    """A tuple whose entries are also attributes, named by ``__match_args__``.

    Like PyTorch's, and unlike a ``namedtuple``, it is made from the sequence of its entries.
    """

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self.__match_args__, self, strict=True))
        return f"torch.return_types.{type(self).__name__}(\n{fields})"

    def __reduce__(self):
        if config.pickled is not None:
            return config.pickled(self)
        return _made, (type(self).__name__, self.__match_args__, tuple(self))


def _made(name: str, fields: tuple[str, ...], values: tuple) -> ReturnType:
    return return_type(name, *fields)(values)


by_name: dict[str, type[ReturnType]] = {}
"""The types that have been made; of two with the same name the first."""


@functools.cache
def return_type(name: str, *fields: str) -> type[ReturnType]:
    """The type of a tuple of results called ``name``, made from the sequence of its entries."""
    members: dict = {field: property(operator.itemgetter(i)) for i, field in enumerate(fields)}
    members |= {"n_fields": len(fields), "n_sequence_fields": len(fields), "n_unnamed_fields": 0}
    made = type(name, (ReturnType,), {"__slots__": (), "__match_args__": fields, "__module__": "torch.return_types", **members})
    by_name.setdefault(name, made)
    return made


def written_type(kind: type[ReturnType]) -> type[ReturnType]:
    """The type of the same results where they have been written into ``out=``: ``max_out`` of ``max``."""
    return return_type(kind.__name__ + "_out", *kind.__match_args__)
