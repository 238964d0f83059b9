"""Settings of PyTorch's that change no result here, and what programs ask of its build.

Denormal numbers are kept and products of float32 matrices are computed in float32, whatever is said. What has been set is
remembered, since programs set something for a while and then bring back what was. (:mod:`flambeau.determinism` has what does
change something.)
"""

from __future__ import annotations

from typing import Any

from flambeau.autograd.anomaly import set_detect_anomaly


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Turns :class:`torch.autograd.detect_anomaly` on or off for what follows."""
    set_detect_anomaly(enabled, check_nan)


def set_flush_denormal(mode: bool) -> bool:
    """Returns False: not supported; denormal numbers are kept."""
    return False


_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Checks the name; products of float32 matrices are always computed in float32."""
    global _precision
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"{precision} is not one of 'highest', 'high', 'medium'")
    _precision = precision


def get_float32_matmul_precision() -> str:
    """The name that has been set."""
    return _precision


def init_num_threads() -> None:
    """Nothing is left to do: threads are started when they are first wanted."""


def compiled_with_cxx11_abi() -> bool:
    """True, as for PyTorch's own packages."""
    return True


def is_vulkan_available() -> bool:
    """False: there is no such device."""
    return False


def cudnn_is_acceptable(input: Any) -> bool:
    """False: there is no cuDNN."""
    return False
