"""Settings of PyTorch's that change no result here, and what programs ask of its build.

flambeau is deterministic, keeps denormal numbers and computes products of float32 matrices in float32: there is nothing to switch. What
has been set is remembered, since programs set something for a while and then bring back what was.
"""

from __future__ import annotations

from typing import Any

from flambeau.autograd.anomaly import set_detect_anomaly

__all__ = ["are_deterministic_algorithms_enabled", "use_deterministic_algorithms"]

_MODES = {"default": 0, "warn": 1, "error": 2}
_mode = 0


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """0 or ``"default"``, 1 or ``"warn"``, 2 or ``"error"``: what PyTorch does where an op is not deterministic. None is here.

    Raises:
        RuntimeError: there is no such mode.
    """
    global _mode
    mode = _MODES.get(debug_mode) if isinstance(debug_mode, str) else debug_mode
    if mode is None:
        raise RuntimeError(f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}")
    if mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    _mode = mode


def get_deterministic_debug_mode() -> int:
    """The mode that has been set: 0, 1 or 2."""
    return _mode


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """flambeau is deterministic in any case; what is set here is only remembered."""
    set_deterministic_debug_mode((1 if warn_only else 2) if mode else 0)


def are_deterministic_algorithms_enabled() -> bool:
    """Whether a program has asked for them."""
    return _mode > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether it has asked for warnings rather than errors."""
    return _mode == 1


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
