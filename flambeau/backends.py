"""``torch.backends``: switches of libraries that PyTorch uses. Programs set them; flambeau has no use for them."""

from __future__ import annotations

from contextlib import contextmanager


class _Backend:
    """A backend that is not there: its switches can be set, and ``is_available()`` is False."""

    def __init__(self, **switches) -> None:
        self.__dict__.update(switches)

    @staticmethod
    def is_available() -> bool:
        return False

    @staticmethod
    def is_built() -> bool:
        return False

    @contextmanager
    def flags(self, **switches):
        before = dict(self.__dict__)
        self.__dict__.update(switches)
        try:
            yield
        finally:
            self.__dict__.clear()
            self.__dict__.update(before)

    def set_flags(self, *values, **switches) -> None:
        self.__dict__.update(switches)

    def version(self) -> None:
        return None


class _Cpu:
    @staticmethod
    def get_cpu_capability() -> str:
        """The widest vectors that the CPU has, in PyTorch's words: ``"AVX512"``, ``"AVX2"``, ``"DEFAULT"``."""
        from flambeau.engine.cpu.compiler import machine

        return {64: "AVX512", 32: "AVX2"}.get(machine().vector_bytes, "DEFAULT")


class _Quantized:
    """Kernels of quantized tensors: there are none."""

    supported_engines = ["none"]
    engine = "none"


cpu, quantized = _Cpu(), _Quantized()
cudnn = _Backend(enabled=False, benchmark=False, deterministic=True, allow_tf32=False)
cuda = _Backend(matmul=_Backend(allow_tf32=False, allow_fp16_reduced_precision_reduction=False))
mps = _Backend()
mkl = _Backend()
mkldnn = _Backend(enabled=False)
openmp = _Backend()
opt_einsum = _Backend(enabled=False, strategy=None)
