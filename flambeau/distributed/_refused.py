"""Classes and functions of ``torch.distributed`` that are not there yet: they refuse when they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


def refuse(name: str) -> NoReturn:
    """Says that ``name`` is not there, and what to use."""
    raise RuntimeError(
        f"{name} is not there yet in flambeau. There are DistributedDataParallel, fully_shard, DTensor and torch.distributed.checkpoint (save, load, get_state_dict)"
    )


def refused_class(name: str, module: str) -> type:
    """A class of which nothing is an instance: making one is refused."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        refuse(name)

    return type(name, (), {"__init__": __init__, "__module__": module, "__doc__": "Refuses: it is not there yet."})


def refused_function(name: str, module: str) -> Callable:
    """A function that refuses."""

    def refused(*args: Any, **kwargs: Any) -> NoReturn:
        refuse(name)

    refused.__name__ = refused.__qualname__ = name
    refused.__module__ = module
    refused.__doc__ = "Refuses: it is not there yet."
    return refused


def refused_names(module: str, classes: str = "", functions: str = "") -> dict[str, Any]:
    """Names of a module, all of which refuse."""
    return {name: refused_class(name, module) for name in classes.split()} | {
        name: refused_function(name, module) for name in functions.split()
    }
