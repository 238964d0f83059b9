"""The table of translations: for each operator of PyTorch's a function that writes nodes with a
:class:`~flambeau.onnx.writer.Writer`.

Tensors come as names of values (:class:`~flambeau.onnx.writer.Ref`), everything else as it was given. An integer that depends on a
free size is a :class:`~flambeau.onnx.writer.Ref` as well, of a 0-dim int64. An operator that has no translation and is made of
others is taken apart, so most need none; those whose names begin with ``_`` are parts of this kind.
"""

from __future__ import annotations

from collections.abc import Callable

TRANSLATIONS: dict[str, Callable] = {}
"""By the operator's name, as ``relu``."""


def translates(*names: str) -> Callable[[Callable], Callable]:
    """Enters a function under the names of the operators that it translates."""

    def decorate(function: Callable) -> Callable:
        TRANSLATIONS.update(dict.fromkeys(names, function))
        return function

    return decorate
