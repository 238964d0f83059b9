"""What the errors of Module say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from flambeau.nn.modules.module import Module


def typename(value: Any) -> str:
    if isinstance(value, Tensor):
        return value.type()
    cls = value if isinstance(value, type) else type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def misspelt_init(cls: type) -> str:
    """A hint for a class that defines something that was meant to be ``__init__``."""
    own = cls.__dict__
    if "__init__" not in own:
        for name in ("_init_", "__int__", "_init__", "__init_"):
            if name in own:
                return f" ({cls.__name__} defines '{name}': did you mean '__init__'?)"
    return ""


def before_init(module: Module, what: str) -> str:
    return f"cannot assign {what} before Module.__init__() call: begin {type(module).__name__}.__init__ with super().__init__()"


def refuse_arguments(cls: type, args: tuple, kwargs: dict) -> None:
    """Nobody takes these arguments: say so as Python does for a function."""
    if kwargs:
        message = f"got an unexpected keyword argument '{next(iter(kwargs))}'"
    else:
        message = f"takes 1 positional argument but {len(args) + 1} were given"
    raise TypeError(f"{cls.__name__}.__init__() {message}{misspelt_init(cls)}")


class _Trail:
    """Where an error has been so far: the module that raised it, the outermost one that it passed."""

    __slots__ = ("inner", "note", "outer", "path")

    def __init__(self, module: Module | None = None) -> None:
        self.inner = self.outer = module
        self.path = ""
        self.note = ""

    def __reduce__(self) -> tuple:
        return _Trail, ()  # an error that is pickled does not take the network with it


def note_where(error: Any, module: Module) -> None:
    """Write into `error` the path of the module whose forward raised it.

    Every module that the error passes through calls this, from the inside to the outside; the note
    grows from the module that raised it to its path in the whole network.
    """
    trail: Any = getattr(error, "_module_trail", None)
    if trail is None or trail.inner is None:
        trail = error._module_trail = _Trail(module)
    if module is not trail.outer:
        step = next((name for name, m in module.named_modules() if m is trail.outer), "?")
        trail.path = f"{step}.{trail.path}" if trail.path else step
        trail.outer = module
    notes = getattr(error, "__notes__", [])
    if trail.note in notes:
        notes.remove(trail.note)
    where = f"{module._get_name()}.{trail.path}: " if trail.path else ""
    trail.note = f"raised in {where}{trail.inner._get_name()}({trail.inner.extra_repr()})"
    error.add_note(trail.note)
