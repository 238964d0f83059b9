"""``torch.backends``: switches of libraries that PyTorch uses. Programs set and ask them; flambeau has no use for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.core import config

_frozen = False


def disable_global_flags() -> None:
    """From now on switches are set by ``flags()`` only, which sets them back."""
    global _frozen
    _frozen = True


def flags_frozen() -> bool:
    """Whether :func:`disable_global_flags` was called."""
    return _frozen


@contextmanager
def __allow_nonbracketed_mutation() -> Iterator[None]:
    """Inside, switches can be set all the same."""
    global _frozen
    before, _frozen = _frozen, False
    try:
        yield
    finally:
        _frozen = before


class _Backend:
    """A backend that is not there: its switches can be set, and ``is_available()`` is False."""

    def __init__(self, **switches: Any) -> None:
        self.__dict__.update(switches)

    def __setattr__(self, name: str, value: Any) -> None:
        if _frozen and name[:1] != "_":
            own = next((f"torch.backends.{n}" for n, backend in globals().items() if backend is self), "torch.backends")
            raise RuntimeError(
                f"not allowed to set {own} flags after disable_global_flags; please use flags() context manager instead"
            )
        self.__dict__[name] = value

    @staticmethod
    def is_available() -> bool:
        return False

    @staticmethod
    def is_built() -> bool:
        return False

    @contextmanager
    def flags(self, **switches: Any) -> Iterator[None]:
        before = dict(self.__dict__)
        self.__dict__.update(switches)
        try:
            yield
        finally:
            self.__dict__.clear()
            self.__dict__.update(before)

    def set_flags(self, *values: Any, **switches: Any) -> None:
        self.__dict__.update(switches)

    def version(self) -> None:
        return None


class _Cuda(_Backend):
    """``torch.backends.cuda``: which of PyTorch's kernels for attention may be used; the switches are kept."""

    def __init__(self) -> None:
        super().__init__(
            matmul=_Backend(
                allow_tf32=False, allow_fp16_reduced_precision_reduction=True, allow_bf16_reduced_precision_reduction=True
            )
        )
        self.cufft_plan_cache = _Backend(size=0, max_size=0)
        self._sdp = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True, "fp16_bf16_reduction_math": False}

    def flash_sdp_enabled(self) -> bool:
        return self._sdp["flash"]

    def mem_efficient_sdp_enabled(self) -> bool:
        return self._sdp["mem_efficient"]

    def math_sdp_enabled(self) -> bool:
        return self._sdp["math"]

    def cudnn_sdp_enabled(self) -> bool:
        return self._sdp["cudnn"]

    def fp16_bf16_reduction_math_sdp_allowed(self) -> bool:
        return self._sdp["fp16_bf16_reduction_math"]

    def enable_flash_sdp(self, enabled: bool) -> None:
        self._sdp["flash"] = bool(enabled)

    def enable_mem_efficient_sdp(self, enabled: bool) -> None:
        self._sdp["mem_efficient"] = bool(enabled)

    def enable_math_sdp(self, enabled: bool) -> None:
        self._sdp["math"] = bool(enabled)

    def enable_cudnn_sdp(self, enabled: bool) -> None:
        self._sdp["cudnn"] = bool(enabled)

    def allow_fp16_bf16_reduction_math_sdp(self, enabled: bool) -> None:
        self._sdp["fp16_bf16_reduction_math"] = bool(enabled)

    @contextmanager
    def sdp_kernel(
        self, enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
    ) -> Iterator[dict[str, bool]]:
        """Inside, only some kernels may be used. There is one for each computation, so attention is what it is outside."""
        before = dict(self._sdp)
        self._sdp.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
        try:
            yield {}
        finally:
            self._sdp.update(before)

    def is_flash_attention_available(self) -> bool:
        return False

    def can_use_flash_attention(self, params: Any, debug: bool = False) -> bool:
        return False

    can_use_efficient_attention = can_use_cudnn_attention = can_use_flash_attention

    def preferred_linalg_library(self, backend: Any = None) -> str:
        """The name of PyTorch's default, whatever is preferred: there is no library for GPUs to choose."""
        return "_LinalgBackend.Default"

    def preferred_blas_library(self, backend: Any = None) -> str:
        return "_BlasBackend.Cublas"


class _Cpu(_Backend):
    """``torch.backends.cpu``: which instructions the processor has."""

    @staticmethod
    def get_cpu_capability() -> str:
        """``"AVX512"``, ``"AVX2"`` or ``"DEFAULT"``: the widest vectors that kernels are compiled for here."""
        if not config.compiled:
            return "DEFAULT"
        from flambeau.engine.cpu.compiler import machine

        return {64: "AVX512", 32: "AVX2"}.get(machine().vector_bytes, "DEFAULT")


class _Mha(_Backend):
    """``torch.backends.mha``: a way of PyTorch's through transformer layers that computes the same; the switch is kept."""

    def __init__(self) -> None:
        super().__init__()
        self._fastpath = True

    def get_fastpath_enabled(self) -> bool:
        return self._fastpath

    def set_fastpath_enabled(self, value: bool) -> None:
        self._fastpath = value


class _Mps(_Backend):
    """``torch.backends.mps``."""

    @staticmethod
    def is_macos13_or_newer() -> bool:
        return False

    @staticmethod
    def is_macos_or_newer(major: int, minor: int) -> bool:
        return False


class _Mkl(_Backend):
    """``torch.backends.mkl`` and ``mkldnn``, which could tell what they do, and are not there."""

    VERBOSE_OFF, VERBOSE_ON = 0, 1
    VERBOSE_ON_CREATION = 2

    class verbose:
        def __init__(self, enable: int, level: int = 0) -> None:
            self.enable = enable

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *exc: Any) -> None:
            return None


class _Quantized(_Backend):
    """``torch.backends.quantized``: by which of PyTorch's libraries quantized layers would be computed; here there is one way for
    all."""

    supported_engines: list[str]

    def __init__(self) -> None:
        super().__init__(engine="x86", supported_engines=["qnnpack", "onednn", "x86", "fbgemm"])

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "engine" and "supported_engines" in vars(self) and value not in self.supported_engines:
            raise RuntimeError(f"{value} is not a valid value for quantized engine, or is not supported: {self.supported_engines}")
        super().__setattr__(name, value)


cpu = _Cpu()
cudnn = _Backend(enabled=False, benchmark=False, benchmark_limit=10, deterministic=True, allow_tf32=False, fp32_precision="none")
cuda = _Cuda()
cusparselt = _Backend(get_max_alg_id=lambda: None)
kleidiai = _Backend()
mha = _Mha()
miopen = _Backend(immediate=False)
mps = _Mps()
mkl = _Mkl()
mkldnn = _Mkl(enabled=False, deterministic=True, allow_tf32=False)
nnpack = _Backend(enabled=False)
openmp = _Backend()
opt_einsum = _Backend(enabled=False, strategy=None)
quantized = _Quantized()
xnnpack = _Backend(enabled=False)
fp32_precision = "none"
