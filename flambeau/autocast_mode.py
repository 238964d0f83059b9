"""What :class:`torch.autocast` sets when it is entered, as functions: libraries save these settings and bring them back.

>>> import flambeau as torch
>>> torch.set_autocast_dtype("cpu", torch.float16)
>>> torch.set_autocast_enabled("cpu", True)
>>> (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
torch.float16
>>> torch.set_autocast_enabled("cpu", False)
>>> torch.set_autocast_dtype("cpu", torch.bfloat16)

Source: https://docs.pytorch.org/docs/stable/amp.html
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

from flambeau import amp
from flambeau.amp import get_autocast_dtype, is_autocast_enabled
from flambeau.core.dtypes import dtype as Dtype
from flambeau.dispatch import autocast as _mode


class _Settings(threading.local):
    depth = 0
    keeps = True  # casts of weights, in PyTorch: here they are nodes of the trace like others


_settings = _Settings()


def set_autocast_enabled(*args: Any) -> None:
    """``set_autocast_enabled(device_type, enabled)``: whether ops are cast from now on; without a device: on CUDA."""
    device_type, enabled = args if len(args) == 2 else ("cuda", *args)
    if device_type == "cpu":
        _mode.cast = amp._caster(amp.default_dtypes["cpu"]) if enabled else None
    else:
        amp.elsewhere[device_type] = bool(enabled)


def set_autocast_dtype(device_type: str, dtype: Dtype) -> None:
    """What products are cast to from now on."""
    amp.default_dtypes[device_type] = dtype
    if device_type == "cpu" and _mode.cast is not None:
        _mode.cast = amp._caster(dtype)


def is_autocast_cache_enabled() -> bool:
    """Whether casts of weights are kept: a setting that changes no result."""
    return _settings.keeps


def set_autocast_cache_enabled(enabled: bool) -> None:
    _settings.keeps = bool(enabled)


def clear_autocast_cache() -> None:
    """Forgets the casts that are kept: none are."""


def autocast_increment_nesting() -> int:
    """One more ``with`` block of autocast: how many there are."""
    _settings.depth += 1
    return _settings.depth


def autocast_decrement_nesting() -> int:
    """One less."""
    _settings.depth -= 1
    return _settings.depth


def _deprecated(old: str, new: Callable, device_type: str) -> Callable:
    """An older function, which is about one kind of device."""
    name = new.__name__

    def function(*args: Any) -> Any:
        given = "dtype" if name == "set_autocast_dtype" else "enabled"
        call = f"{name}('{device_type}'{', ' + given if args else ''})"
        warnings.warn(
            f"torch.{old}({given if args else ''}) is deprecated. Please use torch.{call} instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        return new(device_type, *args)

    function.__name__ = function.__qualname__ = old
    function.__doc__ = f"The older name of ``{name}({device_type!r}, ...)``."
    return function


set_autocast_cpu_dtype = _deprecated("set_autocast_cpu_dtype", set_autocast_dtype, "cpu")
get_autocast_cpu_dtype = _deprecated("get_autocast_cpu_dtype", get_autocast_dtype, "cpu")
is_autocast_cpu_enabled = _deprecated("is_autocast_cpu_enabled", is_autocast_enabled, "cpu")
set_autocast_cpu_enabled = _deprecated("set_autocast_cpu_enabled", set_autocast_enabled, "cpu")
set_autocast_gpu_dtype = _deprecated("set_autocast_gpu_dtype", set_autocast_dtype, "cuda")
get_autocast_gpu_dtype = _deprecated("get_autocast_gpu_dtype", get_autocast_dtype, "cuda")
set_autocast_ipu_dtype = _deprecated("set_autocast_ipu_dtype", set_autocast_dtype, "ipu")
get_autocast_ipu_dtype = _deprecated("get_autocast_ipu_dtype", get_autocast_dtype, "ipu")
is_autocast_ipu_enabled = _deprecated("is_autocast_ipu_enabled", is_autocast_enabled, "ipu")
set_autocast_ipu_enabled = _deprecated("set_autocast_ipu_enabled", set_autocast_enabled, "ipu")
set_autocast_xla_dtype = _deprecated("set_autocast_xla_dtype", set_autocast_dtype, "xla")
get_autocast_xla_dtype = _deprecated("get_autocast_xla_dtype", get_autocast_dtype, "xla")
is_autocast_xla_enabled = _deprecated("is_autocast_xla_enabled", is_autocast_enabled, "xla")
set_autocast_xla_enabled = _deprecated("set_autocast_xla_enabled", set_autocast_enabled, "xla")
