"""Automatic differentiation: the tape, running it backwards, and what user programs see of it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NoReturn

from flambeau.autograd import forward_ad, function, functional, graph, writes  # noqa: F401  # writes fills slots of dispatch
from flambeau.autograd import modes as grad_mode  # noqa: F401
from flambeau.autograd.anomaly import (
    detect_anomaly,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_detect_anomaly,
)
from flambeau.autograd.engine import backward, grad
from flambeau.autograd.function import Function
from flambeau.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from flambeau.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    is_multithreading_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from flambeau.autograd.variable import Variable

__all__ = [
    "detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_detect_anomaly",
    "Function", "forward_ad", "function", "functional", "GradcheckError", "Variable", "backward", "enable_grad", "grad", "gradcheck", "gradgradcheck", "graph",
    "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "is_multithreading_enabled", "no_grad", "set_grad_enabled", "set_multithreading_enabled",
]  # fmt: skip


class SavedTensor:
    """A value that an entry keeps for the backward pass, as :meth:`register_hooks` sees it. Programs cannot make one."""

    def __new__(cls, *args: Any) -> NoReturn:  # type: ignore[misc]
        raise RuntimeError("Trying to create a SavedTensor object from Python is forbidden.")


def __getattr__(name: str) -> Any:
    if name in ("profiler", "kineto_available", "_profiler_enabled", "_disable_profiler"):  # which is not a part of the tape
        profiler = import_module("flambeau.profiler")
        return profiler if name == "profiler" else getattr(profiler, name)
    raise AttributeError(f"module 'torch.autograd' has no attribute '{name}'", name=name)
