"""Trading time for memory: what the backward pass needs of a function is computed anew instead of being kept.

Source: Chen et al. (2016), https://arxiv.org/abs/1604.06174; https://docs.pytorch.org/docs/stable/checkpoint.html
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn

from flambeau.autograd import enable_grad, is_grad_enabled, no_grad
from flambeau.autograd.graph import current_task
from flambeau.autograd.saving import own_hooks, saved_tensors_hooks
from flambeau.core import device as devices
from flambeau.core.random import default_generator
from flambeau.dispatch import autocast
from flambeau.nn.modules.container import Sequential
from flambeau.random import fork_rng
from flambeau.tensor import Tensor
from flambeau.utils.selective import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    create_selective_checkpoint_contexts,
    ignored_operators,
)

__all__ = [
    "SAC_IGNORED_OPS", "CheckpointError", "CheckpointFunction", "CheckpointPolicy", "DefaultDeviceType", "SelectiveCheckpointContext",
    "check_backward_validity", "checkpoint", "checkpoint_sequential", "create_selective_checkpoint_contexts", "detach_variable", "get_device_states",
    "noop_context_fn", "set_checkpoint_debug_enabled", "set_checkpoint_early_stop", "set_device_states",
]  # fmt: skip

SAC_IGNORED_OPS: set[Any]
"""The operators that no policy of selective checkpointing is asked of; made when it is asked for, as that takes PyTorch's
operators."""


class CheckpointError(RuntimeError):
    """Running the function again did not do what it did the first time."""


def noop_context_fn() -> tuple:
    return nullcontext(), nullcontext()


_early_stop: list[bool] = []


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Inside, whether functions that run again stop as soon as all is there that the first run has saved; so they do if nothing
    else is said. It counts where ``checkpoint`` is called, and wins over its argument ``early_stop``."""
    _early_stop.append(enable)
    try:
        yield
    finally:
        _early_stop.pop()


_debug: list[bool | None] = []


@contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Inside, what counts instead of ``debug`` where ``checkpoint`` is called; ``None``: ``debug`` does."""
    _debug.append(enabled)
    try:
        yield
    finally:
        _debug.pop()


def checkpoint(
    function: Callable, *args: Any, use_reentrant: bool | None = None, preserve_rng_state: bool = True,
    context_fn: Callable[[], tuple] = noop_context_fn, determinism_check: str = "default", debug: bool = False,
    early_stop: bool = True, **kwargs: Any,
) -> Any:  # fmt: skip
    """``function(*args, **kwargs)``, which runs a second time in the backward pass instead of keeping what that needs.

    Random numbers are the same the second time, unless ``preserve_rng_state`` is false. What is saved then must have the
    shapes and dtypes that it had at first, unless ``determinism_check`` is ``"none"``.

    >>> import flambeau as torch
    >>> from flambeau.utils.checkpoint import checkpoint
    >>> x = torch.zeros(2, requires_grad=True)
    >>> checkpoint(lambda x: x.exp().sin(), x, use_reentrant=False).sum().backward()
    >>> x.grad
    tensor([0.5403, 0.5403])
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is "
            "recommended; use_reentrant=True is what is done without it.",
            stacklevel=2,
        )
        use_reentrant = True
    if use_reentrant and kwargs:
        raise ValueError(
            "Unexpected keyword arguments: " + ",".join(kwargs) + ": only use_reentrant=False passes them on to the function"
        )
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of 'default', 'none', but got {determinism_check}")
    if use_reentrant and not _differentiable(args):
        if is_grad_enabled():
            check_backward_validity(args)
        with no_grad():
            return function(*args, **kwargs)
    forward_context, recompute_context = context_fn()
    state, cast = default_generator.get_state() if preserve_rng_state else None, autocast.cast
    given = [_given(a) for a in args]

    def again() -> None:
        found, autocast.cast = autocast.cast, cast
        try:
            with fork_rng(enabled=preserve_rng_state), enable_grad(), recompute_context:
                if state is not None:
                    default_generator.set_state(state)
                function(*[a() for a in given], **kwargs)
        finally:
            autocast.cast = found

    if _debug and _debug[-1] is not None:
        debug = _debug[-1]
    region = _Region(again, _early_stop[-1] if _early_stop else early_stop, determinism_check == "default", debug)
    with saved_tensors_hooks(region.pack, region.unpack), forward_context:
        result = function(*args, **kwargs)
    region.complete = True
    return result


def _given(x: Any) -> Callable[[], Any]:
    """An argument for the second run. Inside of another checkpoint a tensor is not kept either."""
    hooks = own_hooks()
    if not isinstance(x, Tensor) or hooks is None:
        return lambda: x
    pack, unpack = hooks
    packed, requires_grad = pack(x.detach()), x.requires_grad
    return lambda: unpack(packed).detach().requires_grad_(requires_grad)


class _Done(Exception):
    """All is there that was saved at first."""


class _Region:
    """What a function has saved for the backward pass: in which order and of which shapes and dtypes, not the values."""

    def __init__(self, again: Callable[[], None], early_stop: bool, checked: bool, debug: bool) -> None:
        self.again, self.early_stop, self.checked, self.debug = again, early_stop, checked, debug
        self.complete = False  # else the function is in its first run, and takes gradients itself
        self.sorts: list[tuple] = []

    def pack(self, t: Tensor) -> int:
        self.sorts.append(_sort(t))
        return len(self.sorts) - 1

    def unpack(self, number: int) -> Tensor:
        task = current_task()
        values = task.notes.get(self) if task is not None else None  # what this pass has not used
        if values is None or number not in values:
            values = dict(enumerate(self._computed()))
            if task is not None:
                task.notes[self] = values
        return values.pop(number)

    def _computed(self) -> list[Tensor]:
        """Runs the function again and returns what it saves."""
        found: list[Tensor] = []
        expected = len(self.sorts)

        def keep(t: Tensor) -> Tensor:
            if len(found) == expected:
                if not self.complete:
                    return t
                raise CheckpointError(
                    "torch.utils.checkpoint: trying to save more tensors during recomputation than during the original forward "
                    f"pass, which saved {expected}. The function must do the same each time that it is called"
                )
            found.append(t)
            if self.early_stop and len(found) == expected:
                raise _Done
            return t

        try:
            with saved_tensors_hooks(keep, lambda t: t):
                self.again()
        except _Done:
            pass
        if len(found) != expected:
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {expected}\nNumber of tensors saved during "
                f"recomputation: {len(found)}.\nThe function must do the same each time that it is called"
            )
        sorts = [_sort(t) for t in found]
        if self.checked and sorts != self.sorts:
            self._refuse(sorts)
        return found

    def _refuse(self, sorts: list[tuple]) -> NoReturn:
        pairs = [(i, a, b) for i, (a, b) in enumerate(zip(self.sorts, sorts, strict=True)) if a != b or self.debug]
        listed = "".join(
            f"\ntensor at position {i}:\nsaved metadata: {_described(*a)}\nrecomputed metadata: {_described(*b)}"
            for i, a, b in pairs
        )
        why = "You are seeing this error because you passed `debug=True` to checkpoint. All that was saved:" if self.debug else ""
        raise CheckpointError(
            "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than during the "
            f"forward pass.{why}{listed}"
        )


def _sort(t: Tensor) -> tuple:
    return t.shape, t.dtype


def _described(shape: Any, dtype: Any) -> dict[str, Any]:
    return {"shape": shape, "dtype": dtype, "device": devices.CPU}


def checkpoint_sequential(
    functions: Sequential | Iterable[Callable], segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Calls ``functions`` one after the other, in ``segments`` groups of which all but the last are checkpointed."""
    parts = list(functions.children()) if isinstance(functions, Sequential) else list(functions)
    size = max(len(parts) // segments, 1)

    def run(start: int, end: int) -> Callable:
        def forward(x: Any) -> Any:
            for part in parts[start:end]:
                x = part(x)
            return x

        return forward

    start = 0
    for _ in range(segments - 1):
        input = checkpoint(run(start, start + size), input, use_reentrant=use_reentrant, **kwargs)
        start += size
    return run(start, len(parts))(input)


class CheckpointFunction:
    """What ``checkpoint(use_reentrant=True)`` is in PyTorch, for those who call it by this name."""

    @staticmethod
    def apply(run_function: Callable, preserve_rng_state: bool, *args: Any) -> Any:
        """``run_function(*args)``, which runs a second time in the backward pass."""
        return checkpoint(run_function, *args, use_reentrant=True, preserve_rng_state=preserve_rng_state)


# Pieces for those who write a checkpoint of their own.


def _differentiable(inputs: Iterable[Any]) -> bool:
    return any(isinstance(x, Tensor) and x.requires_grad for x in inputs)


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warns where no gradient can come of ``inputs``."""
    if not _differentiable(inputs):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=3)


def detach_variable(inputs: tuple) -> tuple:
    """The inputs with their tensors cut off from the tape; those that take gradients still do.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True) * 2
    >>> detach_variable((x, 3))
    (tensor([2., 2.], requires_grad=True), 3)
    """
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}")
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs)


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The accelerators on which tensors among ``args`` are, and the states of their random streams: there are none."""
    return [], []


def set_device_states(devices: list[int], states: list[Tensor], *, device_type: str | None = None) -> None:
    """Puts back what :func:`get_device_states` has found."""
    if devices:
        raise RuntimeError(f"set_device_states: there are no accelerators here, but got states of the devices {devices}")


class DefaultDeviceType:
    """Which kind of device a checkpoint takes where its arguments name none; with tensors of the CPU alone it is never asked."""

    _device_type = "cpu"

    @staticmethod
    def set_device_type(device: str = "cuda") -> None:
        DefaultDeviceType._device_type = device

    @staticmethod
    def get_device_type() -> str:
        return DefaultDeviceType._device_type


def __getattr__(name: str) -> Any:
    if name == "SAC_IGNORED_OPS":
        return set(ignored_operators())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
