"""Tuples of results with names: ``torch.return_types.max(values=..., indices=...)``."""

from __future__ import annotations

import operator


class ReturnType(tuple):
    """A tuple whose entries are also attributes, named by ``_fields``."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def __repr__(self) -> str:
        fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"torch.return_types.{type(self).__name__}(\n{fields})"

    def __reduce__(self):
        return (tuple, (tuple(self),))


def return_type(name: str, *fields: str) -> type[ReturnType]:
    """The type of a tuple of results called ``name``, made from the sequence of its entries."""
    members: dict = {field: property(operator.itemgetter(i)) for i, field in enumerate(fields)}
    return type(name, (ReturnType,), {"__slots__": (), "_fields": fields, "__module__": "torch.return_types", **members})
