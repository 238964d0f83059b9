"""Whether there is Triton, which writes kernels for GPUs: programs ask before they choose one."""

from __future__ import annotations

__all__ = ["has_triton", "has_triton_package", "has_triton_tma", "has_triton_tma_device"]


def has_triton() -> bool:
    """False: kernels are made by LLVM, for the CPU."""
    return False


has_triton_package = has_triton_tma = has_triton_tma_device = has_triton
