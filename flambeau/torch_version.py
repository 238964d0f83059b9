"""``torch.__version__``: a string that compares as a version does.

>>> TorchVersion("2.13.0") > "2.9", TorchVersion("2.13.0") >= (2, 13), "2.13" in TorchVersion("2.13.0")
(True, True, True)
"""

from __future__ import annotations

from typing import Any

__all__ = ["TorchVersion"]

_BEFORE = {"dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2, "rc": -1, "c": -1}


def _key(version: Any) -> tuple | None:
    """What versions are compared by: their numbers without zeros at the end, whether they come before the release, and what is
    local."""
    import re  # most programs never compare

    text = str(version) if not isinstance(version, (tuple, list)) else ".".join(map(str, version))
    found = re.fullmatch(
        r"\s*v?(\d+(?:\.\d+)*)(?:[-_.]?(dev|alpha|a|beta|b|rc|c|post)[-_.]?(\d*))?(?:\.?dev\d*)?(?:\+([\w.-]+))?\s*", text.lower()
    )
    if found is None:
        return None
    numbers = [int(n) for n in found[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    stage = 1 if found[2] == "post" else _BEFORE.get(found[2] or "", 0)
    local = [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in found[4].split(".")] if found[4] else []
    return numbers, stage, int(found[3] or 0), local


class TorchVersion(str):
    """A version as a string. Strings, tuples of numbers and objects of ``packaging`` are compared with it as versions; others as
    strings."""

    __slots__ = ()
    __hash__ = str.__hash__

    def _compare(self, other: Any, name: str) -> Any:
        if not isinstance(other, (str, tuple, list)) and not hasattr(other, "release"):
            return NotImplemented
        ours, theirs = _key(self), _key(other)
        if ours is None or theirs is None:
            return getattr(str, name)(self, other)
        return getattr(tuple, name)(ours, theirs)

    def __eq__(self, other: object) -> Any:
        return self._compare(other, "__eq__")

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, "__lt__")

    def __le__(self, other: Any) -> Any:
        return self._compare(other, "__le__")

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, "__gt__")

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, "__ge__")
