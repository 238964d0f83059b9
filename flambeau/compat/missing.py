"""What a program is told when it asks for a name of PyTorch's that flambeau lacks."""

from __future__ import annotations

import difflib
import functools
import importlib
import sys
from types import ModuleType
from typing import Any

# What serves instead, for names that programs ask for and whose purpose does not follow from a similar name.
_INSTEAD = {
    "torch.nn.Activation": "use a layer of its own, such as nn.ReLU()",
    "torch.nn.Dense": "use nn.Linear(in_features, out_features)",
    "torch.nn.Input": "modules take their inputs when they are called",
    "torch.multiprocessing": "use Python's multiprocessing",
    "torch.onnx": "save the state_dict with torch.save",
    "torch.profiler": "use Python's cProfile",
}
_ANY_NAME = "compose it from the operations there are, or write a torch.autograd.Function over .numpy()"
_ANY_MODULE = "python -c 'import flambeau; help(flambeau)' lists what there is"


@functools.lru_cache(maxsize=1024)
def _what_to_use(name: str, known: tuple[str, ...], otherwise: str) -> str:
    prefix = name
    while prefix:
        if prefix in _INSTEAD:
            return _INSTEAD[prefix]
        prefix = prefix.rpartition(".")[0]
    last = name.rpartition(".")[2]
    close = [n for n in known if n.lower() == last.lower()] or difflib.get_close_matches(last, known, n=3, cutoff=0.75)
    return "did you mean " + " or ".join(map(repr, close)) + "?" if close else otherwise


def _public_names(module: ModuleType) -> tuple[str, ...]:
    return tuple(name for name in dir(module) if not name.startswith("_"))


def explain_missing_names(module: ModuleType, torch_name: str) -> None:
    """Give `module` a ``__getattr__`` that says which name of `torch_name` is lacking, and what to use; and modules below it."""
    own = module.__dict__.get("__getattr__")
    if getattr(own, "explains", False):
        return

    def __getattr__(name: str) -> Any:
        if own is not None:
            try:
                value = own(name)
            except AttributeError:
                pass
            else:  # perhaps a room that is opened when it is entered
                if isinstance(value, ModuleType):
                    explain_missing_names(value, f"{torch_name}.{name}")
                return value
        if not name.startswith("__"):
            try:
                return importlib.import_module(f"{torch_name}.{name}")
            except ModuleNotFoundError:
                pass
        problem = f"module '{torch_name}' has no attribute '{name}'"
        if not name.startswith("__"):
            use = _what_to_use(f"{torch_name}.{name}", _public_names(module), _ANY_NAME)
            problem += f": flambeau has no such name; {use}"
        raise AttributeError(problem, name=name)

    __getattr__.explains = True  # type: ignore[attr-defined]
    module.__getattr__ = __getattr__  # type: ignore[method-assign]


def missing_module(torch_name: str) -> ModuleNotFoundError:
    """The error for ``import torch_name`` where flambeau has no such module."""
    parent = torch_name.rpartition(".")[0]
    known = _public_names(sys.modules[parent]) if parent in sys.modules else ()
    return ModuleNotFoundError(
        f"No module named '{torch_name}': flambeau has no such module; {_what_to_use(torch_name, known, _ANY_MODULE)}",
        name=torch_name,
    )
