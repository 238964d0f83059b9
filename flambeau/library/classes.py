"""``torch.classes``: classes that libraries of C++ register for TorchScript. None can be loaded here, so none is there."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NoReturn

__all__ = ["classes"]


class _Namespace(ModuleType):
    """The classes of one library, of which there are none."""

    def __getattr__(self, name: str) -> NoReturn:
        space = self.__name__.rpartition(".")[2]
        raise RuntimeError(
            f"Tried to instantiate class '{space}.{name}', but it does not exist! Ensure that it is registered via torch::class_"
        )


class _Classes(ModuleType):
    def __init__(self) -> None:
        super().__init__("torch.classes", __doc__)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module 'torch.classes' has no attribute '{name}'")
        found = _Namespace(f"torch.classes.{name}")
        setattr(self, name, found)
        return found

    @property
    def loaded_libraries(self) -> set[str]:
        """Paths of the libraries that have been loaded: none."""
        return set()

    def load_library(self, path: str) -> NoReturn:
        """Refuses: a library of C++ calls PyTorch's own functions, which are not there."""
        raise OSError(f"{path}: flambeau loads no libraries that are compiled for PyTorch")


classes = _Classes()
