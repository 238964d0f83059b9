"""Automatic mixed precision: products in a short dtype, the rest where float32 is needed.

Source: https://docs.pytorch.org/docs/stable/amp.html
"""

from __future__ import annotations

import enum
import functools
import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from flambeau import ops
from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.dispatch import autocast as _mode
from flambeau.ops.autocasting import FLOAT32, LOWER
from flambeau.tensor import Tensor

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

_SHORT = (dtypes.bfloat16, dtypes.float16)
default_dtypes = {
    "cpu": dtypes.bfloat16, "hpu": dtypes.bfloat16, "xla": dtypes.bfloat16,
    **dict.fromkeys(("cuda", "mps", "xpu", "mtia", "ipu", "maia", "privateuseone"), dtypes.float16),
}  # fmt: skip
"""What products are cast to where nothing else is said, by the kind of device."""
elsewhere: dict[str, bool] = {}
"""Whether autocast has been turned on for kinds of devices that are absent; see :mod:`flambeau.autocast_mode`."""


def is_autocast_available(device_type: str) -> bool:
    """Whether ``device_type`` is one that programs may name; only on the CPU does autocast do something here."""
    return device_type in default_dtypes


def _to(x: Any, change: Callable[[Tensor], Dtype]) -> Any:
    if isinstance(x, Tensor):
        target = change(x)
        return x if x.dtype is target else x.to(target)
    if isinstance(x, (tuple, list)):
        return type(x)(_to(v, change) for v in x) if type(x) in (tuple, list) else x
    return x


def _floats(x: Any):
    for v in x if isinstance(x, (tuple, list)) else (x,):
        if isinstance(v, Tensor) and v.is_floating_point():
            yield v
        elif isinstance(v, (tuple, list)):
            yield from _floats(v)


def _caster(short: Dtype) -> Callable:
    """What is done to an op's arguments inside ``autocast(dtype=short)``, by the op's policy."""

    def lower(t: Tensor) -> Dtype:
        return short if t.is_floating_point() and t.dtype is not dtypes.float64 else t.dtype

    def float32(t: Tensor) -> Dtype:
        return dtypes.float32 if t.dtype in _SHORT else t.dtype

    def cast(policy: str, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if policy == LOWER:
            change = lower
        elif policy == FLOAT32:
            change = float32
        else:
            found = {t.dtype for t in _floats((args, tuple(kwargs.values())))}
            widest = functools.reduce(dtypes.promote_types, found) if found else None

            def change(t: Tensor) -> Dtype:
                return widest if widest is not None and t.is_floating_point() else t.dtype

        return _to(args, change), {k: v if k == "out" else _to(v, change) for k, v in kwargs.items()}

    cast.dtype = short  # type: ignore[attr-defined]
    return cast


class autocast:
    """Inside, products are computed in ``dtype`` (on the CPU bfloat16), and what needs float32 in float32.

    A context manager and a decorator. For a device that is absent it warns and does nothing.

    >>> import flambeau as torch
    >>> x = torch.ones(2, 2)
    >>> with torch.autocast("cpu"):
    ...     (x @ x).dtype
    torch.bfloat16

    Source: https://docs.pytorch.org/docs/stable/amp.html#torch.autocast
    """

    def __init__(
        self, device_type: str, dtype: Dtype | None = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device = device_type
        self.fast_dtype = dtype if dtype is not None else default_dtypes[device_type]
        if enabled and device_type != "cpu":
            if device_type == "cuda":
                warnings.warn("CUDA is not available or torch_xla is imported. Disabling autocast.", stacklevel=2)
            enabled = False
        elif enabled and self.fast_dtype not in _SHORT:
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\n"
                "CPU Autocast only supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._found: list = []

    def __enter__(self) -> autocast:
        self._found.append(_mode.cast)
        if self.device == "cpu":
            _mode.cast = _caster(self.fast_dtype) if self._enabled else None
        return self

    def __exit__(self, *exc: object) -> None:
        _mode.cast = self._found[-1]
        self._found.pop()

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return wrapped


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether ops are cast now on ``device_type``."""
    return _mode.cast is not None if device_type == "cpu" else elsewhere.get(device_type, False)


def get_autocast_dtype(device_type: str) -> Dtype:
    """The dtype that products are cast to on ``device_type`` inside autocast."""
    if device_type == "cpu" and _mode.cast is not None:
        return _mode.cast.dtype
    if device_type not in default_dtypes:
        raise RuntimeError(f"unsupported scalarType: autocast knows no dtype for devices of the kind {device_type!r}")
    return default_dtypes[device_type]


def custom_fwd(fwd: Callable | None = None, *, device_type: str, cast_inputs: Dtype | None = None) -> Callable:
    """Decorates ``forward`` of an autograd Function: it runs as in the autocast it is called in.

    With ``cast_inputs``, floating-point arguments are cast to it and autocast is off inside.
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx, *args, **kwargs):
        ctx._cast = _mode.cast if device_type == "cpu" else None
        if cast_inputs is None or ctx._cast is None:
            return fwd(ctx, *args, **kwargs)
        ctx._cast = None

        def change(t: Tensor) -> Dtype:
            return cast_inputs if t.is_floating_point() and t.dtype is not dtypes.float64 else t.dtype

        with autocast(device_type, enabled=False):
            return fwd(ctx, *_to(args, change), **{k: _to(v, change) for k, v in kwargs.items()})

    return forward


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Callable:
    """Decorates ``backward`` of an autograd Function: it runs in the autocast that ``forward`` ran in."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx, *grads):
        found, _mode.cast = _mode.cast, ctx._cast
        try:
            return bwd(ctx, *grads)
        finally:
            _mode.cast = found

    return backward


class OptState(enum.Enum):
    """What has been done with an optimizer's gradients since the last ``update``."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _refresh_per_optimizer_state() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


def _found_inf(state: dict[str, Any]) -> bool:
    return any(found.item() for found in state["found_inf_per_device"].values())


class GradScaler:
    """Multiplies the loss by a scale so that float16 gradients do not vanish, and divides them before the step.

    A step whose gradients are not finite is left out, and the scale falls; after ``growth_interval`` good steps it grows.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor(1.0))
    >>> optimizer = torch.optim.SGD([w], lr=0.5)
    >>> scaler = torch.amp.GradScaler("cpu")
    >>> scaler.scale(w * w).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> w.data, scaler.get_scale()
    (tensor(0.), 65536.0)

    Source: https://docs.pytorch.org/docs/stable/amp.html#gradient-scaling
    """

    def __init__(
        self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
        growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        self._device = device
        if enabled and device == "cuda":
            warnings.warn("torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.", stacklevel=2)
            enabled = False
        if growth_factor <= 1.0 or backoff_factor >= 1.0:
            raise AssertionError("The growth factor must be > 1.0 and the backoff factor must be < 1.0.")
        self._enabled = enabled
        self._init_scale, self._growth_tracker = float(init_scale), 0
        self._scale: float | None = None  # until something is scaled
        self._growth_factor, self._backoff_factor, self._growth_interval = growth_factor, backoff_factor, growth_interval
        self._per_optimizer_states: dict[int, dict[str, Any]] = defaultdict(_refresh_per_optimizer_state)

    def scale(self, outputs: Any) -> Any:
        """``outputs``, a tensor or a nest of them, multiplied by the scale."""
        if not self._enabled:
            return outputs
        if self._scale is None:
            self._scale = self._init_scale
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(self.scale(o) for o in outputs)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _current(self, caller: str) -> float:
        if self._scale is None:
            raise AssertionError(
                f"Attempted {caller} but _scale is None.  This may indicate your script did not use scaler.scale(loss or "
                "outputs) earlier in the iteration."
            )
        return self._scale

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients of the optimizer's parameters by the scale, to look at or to clip them before ``step``."""
        if not self._enabled:
            return
        scale = self._current("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        grads = [p.grad.detach() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if any(grad.dtype is dtypes.float16 for grad in grads):
            raise ValueError("Attempting to unscale FP16 gradients.")
        for grad in grads:
            grad.mul_(1.0 / scale)
        state["stage"] = OptState.UNSCALED
        if grads:  # one value for all: the graph runs once
            found_inf = 1.0 - ops.stack([grad.isfinite().all() for grad in grads]).all().float()
            state["found_inf_per_device"] = {found_inf.device: found_inf}

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step(...)``, unless a gradient is infinite or not a number."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._current("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        if not state["found_inf_per_device"]:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None if _found_inf(state) else optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapts the scale to how the steps since the last update went, or sets it."""
        if not self._enabled:
            return
        scale = self._current("update")
        if new_scale is not None:
            self._scale = float(new_scale)
        else:
            states = [state for state in self._per_optimizer_states.values() if state["found_inf_per_device"]]
            if not states:
                raise AssertionError("No inf checks were recorded prior to update.")
            if not any(map(_found_inf, states)):
                self._growth_tracker += 1
                if self._growth_tracker == self._growth_interval:
                    self._scale, self._growth_tracker = scale * self._growth_factor, 0
            else:
                self._scale, self._growth_tracker = scale * self._backoff_factor, 0
        self._per_optimizer_states.clear()

    def get_scale(self) -> float:
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale

    def is_enabled(self) -> bool:
        return self._enabled

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(), "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval, "_growth_tracker": self._growth_tracker,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._init_scale, self._growth_tracker = state_dict["scale"], state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale = self._init_scale
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
