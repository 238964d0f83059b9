"""``torch.overrides``: classes and modes that answer calls of the functions here, and what they may answer.

A class with a ``__torch_function__`` is asked what a call with one of its objects is to do; a :class:`TorchFunctionMode` is asked
for each call while it is on.

>>> import flambeau as torch
>>> from flambeau.overrides import TorchFunctionMode, resolve_name
>>> class Names(TorchFunctionMode):
...     def __torch_function__(self, func, types, args=(), kwargs=None):
...         print(resolve_name(func))
...         return func(*args, **(kwargs or {}))
>>> with Names():
...     y = torch.ones(2).add(1).sum()
torch.ones
torch.Tensor.add
torch.Tensor.sum

Source: https://docs.pytorch.org/docs/stable/torch.overrides.html
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FunctionType
from typing import Any

from flambeau.tensor import Tensor, overriding
from flambeau.tensor.overriding import state

__all__ = [
    "BaseTorchFunctionMode", "TorchFunctionMode", "enable_reentrant_dispatch", "get_default_nowrap_functions", "get_ignored_functions",
    "get_overridable_functions", "get_testing_overrides", "handle_torch_function", "has_torch_function", "has_torch_function_unary",
    "has_torch_function_variadic", "is_tensor_like", "is_tensor_method_or_property", "redispatch_function", "resolve_name", "wrap_torch_function",
]  # fmt: skip


# --- asking ------------------------------------------------------------------------------------------------------


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether a mode is on, or a type among the arguments has a ``__torch_function__`` of its own.

    Then :func:`handle_torch_function` asks them. Objects of the classes Tensor and Parameter themselves do not count.
    """
    if state.passing:  # see :func:`redispatch_function`
        state.passing = False
        return False
    if state.modes and state.functions and not state.inside:
        return True
    return state.subclasses and any([overriding.overrides(type(a)) for a in relevant_args])


def has_torch_function_unary(arg: Any) -> bool:
    """:func:`has_torch_function` of one argument."""
    return has_torch_function((arg,))


def has_torch_function_variadic(*args: Any) -> bool:
    """:func:`has_torch_function` of the arguments."""
    return has_torch_function(args)


def handle_torch_function(public_api: Callable, relevant_args: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
    """What the innermost mode, or else the first of ``relevant_args`` that knows, makes of ``public_api(*args, **kwargs)``.

    Raises:
        TypeError: all of them say ``NotImplemented``.
    """
    found = overriding.overriding(relevant_args, [], True) if state.subclasses else []
    try:
        return overriding.handle(public_api, found, args, kwargs)
    except TypeError as error:
        if not str(error).startswith("Multiple dispatch failed"):
            raise
        name = f"{public_api.__module__}.{public_api.__name__}"
        asked = [type(a) for a in found]
        raise TypeError(f"no implementation found for '{name}' on types that implement __torch_function__: {asked}") from None


def redispatch_function(func: Callable, types: Any, args: tuple, kwargs: dict[str, Any] | None) -> Any:
    """``func(*args, **kwargs)``, of which itself nobody is asked: classes and modes are for what it calls.

    >>> import flambeau as torch
    >>> def doubled(x):
    ...     if torch.overrides.has_torch_function((x,)):
    ...         return torch.overrides.handle_torch_function(doubled, (x,), x)
    ...     return x * 2
    >>> class Loud(torch.Tensor):
    ...     @classmethod
    ...     def __torch_function__(cls, func, types, args=(), kwargs=None):
    ...         print(func.__name__)
    ...         return torch.overrides.redispatch_function(func, types, args, kwargs)
    >>> y = doubled(torch.ones(1).as_subclass(Loud))
    doubled
    mul
    """
    written = isinstance(func, FunctionType) and not hasattr(func, "op") and not is_tensor_method_or_property(func)
    before = state.subclasses, state.functions, state.passing
    if written:  # it asks itself whether there is somebody to be asked
        state.passing = True
    else:
        state.subclasses = state.functions = False
    try:
        return func(*args, **(kwargs or {}))
    finally:
        state.subclasses, state.functions, state.passing = before


def wrap_torch_function(dispatcher: Callable) -> Callable:
    """A decorator that lets classes and modes answer calls of a function. ``dispatcher`` takes its arguments, and gives those that
    are to be asked.

    >>> import flambeau as torch
    >>> @torch.overrides.wrap_torch_function(lambda a: (a,))
    ... def twice(a):
    ...     return a + a
    >>> twice(torch.tensor(2))
    tensor(4)
    """

    def wrap(func: Callable) -> Callable:
        @functools.wraps(func)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return func(*args, **kwargs)

        return wrapped

    return wrap


def is_tensor_like(inp: Any) -> bool:
    """Whether it is a tensor, or has a ``__torch_function__``."""
    return isinstance(inp, Tensor) or hasattr(inp, "__torch_function__")


# --- modes -------------------------------------------------------------------------------------------------------


class TorchFunctionMode:
    """Inside of ``with``, ``__torch_function__(func, types, args, kwargs)`` is asked for each call of a function, a method or a
    property of tensors, whatever its arguments are. While it answers, the modes around it are on, and it is not.

    >>> import flambeau as torch
    >>> class Halved(TorchFunctionMode):
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         result = func(*args, **(kwargs or {}))
    ...         return result / 2 if func is torch.sum else result
    >>> with Halved():
    ...     torch.sum(torch.tensor([1.0, 3.0]))
    tensor(2.)
    """

    inner: TorchFunctionMode

    def __init__(self) -> None:
        pass

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        raise NotImplementedError

    def __enter__(self) -> TorchFunctionMode:
        overriding.tell_of_methods()
        overriding.push(self)
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        overriding.pop(self)

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> TorchFunctionMode:
        """The old way to make one."""
        warnings.warn("`Mode.push()` is no longer necessary and can be replaced with just `with Mode()`", stacklevel=2)
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that lets each call do what it does."""

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        return func(*args, **(kwargs or {}))


def _get_current_function_mode() -> TorchFunctionMode | None:
    """The innermost mode."""
    return state.modes[-1] if state.modes else None


def _get_current_function_mode_stack() -> list[TorchFunctionMode]:
    """The modes, from the outermost to the innermost."""
    return list(state.modes)


def _len_torch_function_stack() -> int:
    return len(state.modes)


@contextmanager
def _pop_mode_temporarily() -> Iterator[TorchFunctionMode]:
    """Inside, the innermost mode is off."""
    before = state.modes
    state.modes = before[:-1]
    try:
        yield before[-1]
    finally:
        state.modes = before


@contextmanager
def enable_reentrant_dispatch() -> Iterator[None]:
    """Inside of a ``__torch_dispatch__``, classes and modes are asked again."""
    before = state.inside, state.subclasses
    state.inside, state.subclasses = False, True
    try:
        yield
    finally:
        state.inside, state.subclasses = before


# --- what can be answered ----------------------------------------------------------------------------------------

_ROOMS = (
    "torch",
    "torch.functional",
    "torch.nn.functional",
    "torch.nn.init",
    "torch.Tensor",
    "torch.linalg",
    "torch.fft",
    "torch.special",
)
_IGNORED = (
    "typename is_tensor is_storage set_default_tensor_type set_default_device get_default_device set_rng_state get_rng_state manual_seed "
    "initial_seed seed save load set_printoptions get_printoptions empty zeros ones full eye arange range linspace logspace rand randn "
    "randint randperm tensor as_tensor asarray from_numpy frombuffer from_dlpack tril_indices triu_indices hann_window hamming_window "
    "blackman_window bartlett_window kaiser_window scalar_tensor empty_strided empty_permuted can_cast promote_types get_default_dtype "
    "set_default_dtype get_num_threads set_num_threads get_num_interop_threads set_num_interop_threads is_grad_enabled set_flush_denormal "
    "is_inference_mode_enabled is_anomaly_enabled set_anomaly_enabled compile vmap synchronize use_deterministic_algorithms "
    "are_deterministic_algorithms_enabled set_float32_matmul_precision get_float32_matmul_precision is_warn_always_enabled "
    "set_warn_always is_autocast_enabled get_autocast_dtype broadcast_shapes engine_stats is_anomaly_check_nan_enabled"
).split()


def _public(space: Any) -> dict[str, Any]:
    return {name: getattr(space, name) for name in dir(space) if not name.startswith("_")}


@functools.cache
def _known() -> tuple[dict[str, list], dict[Callable, str]]:
    """By room, what can be answered; and the full name of each."""
    import flambeau as torch

    rooms: dict[str, list] = {room: [] for room in _ROOMS}
    names: dict[Callable, str] = {}

    def add(room: str, name: str, value: Callable) -> None:
        if value not in names:
            rooms[room].append(value)
            names[value] = f"{room}.{name}"
        elif getattr(value, "__name__", "") == name:
            names[value] = f"{names[value].rpartition('.')[0]}.{name}"

    for room in ("nn.functional", "", "nn.init", "linalg", "fft", "special"):
        for name, value in _public(import_module(f"flambeau.{room}") if room else torch).items():
            if (
                not inspect.isfunction(value)
                or not room
                and name in _IGNORED
                or room == "nn.functional"
                and name in ("sigmoid", "tanh")
            ):
                continue
            add(f"torch.{room}" if room else "torch.functional" if name in overriding._OF_PYTHON else "torch", name, value)
    for name in _IGNORED:
        if hasattr(torch, name):
            names.setdefault(getattr(torch, name), f"torch.{name}")
    own = overriding.originals()
    for name in dir(Tensor):
        value = own.get(name, vars(Tensor).get(name))
        if isinstance(value, property):
            add("torch.Tensor", f"{name}.__get__", value.__get__)
            if value.fset is not None:
                add("torch.Tensor", f"{name}.__set__", value.__set__)
        elif callable(value) and (name in own or hasattr(value, "op") and not name.startswith("_")):
            if value in names and names[value] != f"torch.Tensor.{name}":
                rooms["torch.Tensor"].append(value)  # a method that is a function of another room too
            add("torch.Tensor", name, value)
    return rooms, names


def get_overridable_functions() -> dict[Any, list[Callable]]:
    """What a ``__torch_function__`` may be asked for, by the module or class that it is found in.

    >>> import flambeau as torch
    >>> torch.nn.functional.relu in torch.overrides.get_overridable_functions()[torch.nn.functional]
    True
    """
    import flambeau as torch

    spaces = {"torch": torch, "torch.Tensor": Tensor, "torch.functional": torch}
    found: dict[Any, list[Callable]] = {}
    for room, functions in _known()[0].items():
        space = spaces.get(room) or import_module("flambeau." + room.removeprefix("torch."))
        found.setdefault(space, []).extend(functions)
    return found


def get_ignored_functions() -> set[Callable]:
    """Public functions that no ``__torch_function__`` is asked for: no argument of theirs is a tensor."""
    import flambeau as torch

    return {getattr(torch, name) for name in _IGNORED if hasattr(torch, name)}


def get_testing_overrides() -> dict[Callable, Callable]:
    """For each function that can be answered one of the same signature that returns -1."""
    return {function: _dummy(function) for functions in _known()[0].values() for function in functions}


def _dummy(function: Callable) -> Callable:
    def dummy(*args: Any, **kwargs: Any) -> int:
        return -1

    try:
        dummy.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        pass
    return dummy


def get_default_nowrap_functions() -> set[Callable]:
    """What gives plain tensors, whatever the class that they are asked of: the ``grad`` of a tensor."""
    return overriding.default_nowrap()


def resolve_name(f: Callable) -> str | None:
    """The full name of what a ``__torch_function__`` is asked for; ``None`` for other functions.

    >>> import flambeau as torch
    >>> resolve_name(torch.Tensor.add), resolve_name(torch.add), resolve_name(torch.Tensor.shape.__get__)
    ('torch.Tensor.add', 'torch.add', 'torch.Tensor.shape.__get__')
    """
    return _known()[1].get(f)


def is_tensor_method_or_property(func: Callable) -> bool:
    """Whether ``func`` is a method of tensors, or reads or sets a property of theirs."""
    return (resolve_name(func) or "").startswith("torch.Tensor.") or getattr(func, "__name__", "") == "__get__"
