"""``torch.__config__``: what computes here, as text."""

from __future__ import annotations

__all__ = ["parallel_info", "show"]


def show() -> str:
    """What flambeau is built of. Programs print it; its lines are not PyTorch's."""
    import platform

    import numpy

    from flambeau import version

    return (
        f"flambeau {version.release}, with the interface of PyTorch {version.__version__}:\n"
        f"  - Python {platform.python_version()}, NumPy {numpy.__version__}\n"
        f"  - {_compiler()}\n"
        "  - Build settings: USE_CUDA=0, USE_MKL=OFF, USE_MKLDNN=OFF, USE_OPENMP=OFF, USE_XPU=OFF\n"
    )


def _compiler() -> str:
    try:
        import llvmlite
    except ImportError:
        return "kernels of NumPy: llvmlite is not installed"
    return f"kernels compiled with llvmlite {llvmlite.__version__}"


def parallel_info() -> str:
    """How many threads compute."""
    import os

    from flambeau.threads import get_num_interop_threads, get_num_threads

    return (
        f"ATen/Parallel:\n\tat::get_num_threads() : {get_num_threads()}\n\tat::get_num_interop_threads() : {get_num_interop_threads()}\n"
        f"std::thread::hardware_concurrency() : {os.cpu_count()}\nATen parallel backend: native thread pool\n"
    )


def _cxx_flags() -> str:
    """Nothing has been compiled from C++."""
    return ""
