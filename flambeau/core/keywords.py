"""Misspelt keywords: what may have been meant, and errors that name the class that the user wrote."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any

_TAKES_KEYWORDS = 0x08  # of a code object's flags: the function takes **kwargs

_WORDS_OF_OTHERS = {
    "axis": "dim", "axes": "dim", "dims": "dim", "keepdims": "keepdim", "learning_rate": "lr", "epsilon": "eps", "prob": "p", "rate": "p",
    "drop_prob": "p", "decay": "weight_decay", "units": "out_features", "filters": "out_channels", "strides": "stride", "use_bias": "bias",
    "n_layers": "num_layers", "n_heads": "nhead", "labels": "target",
}  # fmt: skip
"""Arguments as other libraries call them."""


def meant(word: str, known: Collection[str]) -> str | None:
    """The argument among ``known`` that someone who wrote ``word`` may have meant.

    >>> meant("pading", ["kernel_size", "padding"]), meant("learning_rate", ["params", "lr"]), meant("colour", ["lr"])
    ('padding', 'lr', None)
    """
    import difflib

    if _WORDS_OF_OTHERS.get(word) in known:
        return _WORDS_OF_OTHERS[word]
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return close[0] if close else None


@lru_cache(1024)
def _keywords(code: CodeType) -> dict[str, None] | None:
    """The keywords that a method takes, in their order; ``None``: any."""
    if code.co_flags & _TAKES_KEYWORDS:
        return None
    return dict.fromkeys(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])


def refuse_unknown(cls: type, kwargs: dict[str, Any]) -> None:
    """Raises Python's ``TypeError`` for a keyword that ``cls.__init__`` does not take, in the name of ``cls`` and with what may be
    meant.

    Only of constructors of flambeau's own: Python speaks of the user's by their names.
    """
    init = cls.__init__  # type: ignore[misc]
    code = getattr(init, "__code__", None)
    known = _keywords(code) if code is not None else None
    if known is None or kwargs.keys() <= known.keys() or not init.__module__.startswith("flambeau."):
        return
    word = next(name for name in kwargs if name not in known)
    close = meant(word, known)
    hint = f". Did you mean '{close}'?" if close else f" (it takes {', '.join(known)})" if known else ""
    raise TypeError(f"{cls.__name__}.__init__() got an unexpected keyword argument '{word}'{hint}")


class _OfConstructor:
    """What ``inspect.signature`` and ``help`` show of a class: the parameters of ``__init__``, where Python before 3.11.4 would show
    those of a ``__new__``, whichever class has it."""

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is not None:
            raise AttributeError("__signature__")  # an instance that can be called has that of its call
        import inspect

        shown = inspect.signature(owner.__init__)  # type: ignore[misc]
        return shown.replace(parameters=list(shown.parameters.values())[1:])


class NamesUnknown:
    """A base of classes whose constructors are often given keywords by hand: a misspelt one is named with what may be meant."""

    if not TYPE_CHECKING:  # where it would hide the parameters of __init__
        __signature__ = _OfConstructor()

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            if kwargs:
                refuse_unknown(cls, kwargs)
            make = super().__new__
            return make(cls) if make is object.__new__ else make(cls, *args, **kwargs)
