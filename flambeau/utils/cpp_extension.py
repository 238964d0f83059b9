"""``torch.utils.cpp_extension``: extensions in C++ are written against PyTorch's own libraries, which are not here.

Packages ask for the names when they are imported or set up; whoever builds or loads an extension is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

__all__ = [
    "BuildExtension", "CUDAExtension", "CppExtension", "SyclExtension", "get_default_build_root", "include_paths", "is_ninja_available",
    "library_paths", "load", "load_inline", "verify_ninja_availability",
]  # fmt: skip

CUDA_HOME: str | None = None
ROCM_HOME: str | None = None
CUDNN_HOME: str | None = None
SYCL_HOME: str | None = None
IS_HIP_EXTENSION = False


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(
        f"{what}: extensions in C++ and CUDA are built against PyTorch's C++ libraries, which flambeau does not have. Compose the operation "
        "of the operations there are, or write a torch.autograd.Function over .numpy(); most packages have such a way without their extension."
    )


def load(name: str, *args: Any, **kwargs: Any) -> NoReturn:
    """Refuses to build the extension ``name``."""
    _refuse(f"torch.utils.cpp_extension.load({name!r})")


def load_inline(name: str, *args: Any, **kwargs: Any) -> NoReturn:
    """Refuses to build the extension ``name``."""
    _refuse(f"torch.utils.cpp_extension.load_inline({name!r})")


def CppExtension(name: str, sources: Sequence[str], *args: Any, **kwargs: Any) -> NoReturn:
    """Refuses to set up an extension."""
    _refuse(f"CppExtension({name!r})")


def CUDAExtension(name: str, sources: Sequence[str], *args: Any, **kwargs: Any) -> NoReturn:
    """Refuses to set up an extension."""
    _refuse(f"CUDAExtension({name!r})")


def SyclExtension(name: str, sources: Sequence[str], *args: Any, **kwargs: Any) -> NoReturn:
    """Refuses to set up an extension."""
    _refuse(f"SyclExtension({name!r})")


class BuildExtension:
    """The command that builds extensions: it refuses when it is made."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("BuildExtension")

    @classmethod
    def with_options(cls, **options: Any) -> type[BuildExtension]:
        """The command itself: it refuses with any options."""
        return cls


def include_paths(device_type: str = "cpu", torch_include_dirs: bool = True) -> list[str]:
    """Refuses: there are no headers."""
    _refuse("include_paths")


def library_paths(device_type: str = "cpu", torch_include_dirs: bool = True, cross_target_platform: str | None = None) -> list[str]:
    """Refuses: there are no libraries."""
    _refuse("library_paths")


def is_ninja_available() -> bool:
    """False: nothing is built, so nobody looks for ninja."""
    return False


def verify_ninja_availability() -> None:
    """Refuses."""
    raise RuntimeError(
        "Ninja is required to load C++ extensions (pip install ninja to get it), and flambeau builds none with it either"
    )


def get_default_build_root() -> str:
    """Refuses: nothing is built."""
    _refuse("get_default_build_root")
