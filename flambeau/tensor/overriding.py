"""``__torch_function__``: who else may answer a call, and in which order they are asked.

A call of an op, or of a method or property of tensors, is first offered to the modes that are on (the innermost first), then to
the arguments whose classes have a ``__torch_function__`` of their own: subclasses before their bases, and from left to right.
What an op itself calls is not offered to anybody.

Programs without modes and such classes pay nothing: while a mode is on, :class:`Offering` fills ``dispatch.watch``; a tensor of
such a class has no layout, so its calls are recorded in full, and that is where it is looked for.

Source: https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch-python-api
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import wraps
from types import MethodType, NoneType
from typing import Any, TypeVar

from flambeau import dispatch
from flambeau.core import device as devices
from flambeau.core import dtypes, memory_format
from flambeau.core.random import Generator
from flambeau.core.size import Size
from flambeau.ops.record import plain as plain_types
from flambeau.ops.record import registry
from flambeau.ops.spelling import respelled
from flambeau.tensor.tensor import Tensor, disabled_torch_function
from flambeau.tensor.watching import Watcher

Function = TypeVar("Function", bound=Callable)


class _State(threading.local):
    """What is on in a thread: the modes from the outermost to the innermost, and who is not to be asked."""

    modes: tuple = ()
    subclasses = True
    functions = True
    inside = False  # of an op, whose calls are its own
    passing = False  # who asks next whether there is somebody to be asked is told that there is not


state = _State()


class _Without:
    """Inside, some are not asked."""

    _what: tuple[str, ...]

    def __enter__(self) -> None:
        self._before = [getattr(state, name) for name in self._what]
        for name in self._what:
            setattr(state, name, False)

    def __exit__(self, *exc: object) -> None:
        for name, value in zip(self._what, self._before, strict=True):
            setattr(state, name, value)


class DisableTorchFunctionSubclass(_Without):
    """Inside, no class of tensors is asked; modes are.

    >>> import flambeau as torch
    >>> class Loud(torch.Tensor):
    ...     pass
    >>> x = torch.ones(2).as_subclass(Loud)
    >>> with torch._C.DisableTorchFunctionSubclass():
    ...     y = x + 1
    >>> type(x + 1).__name__, type(y).__name__
    ('Loud', 'Tensor')
    """

    _what = ("subclasses",)


class DisableTorchFunction(_Without):
    """Inside, nobody is asked, modes included."""

    _what = ("subclasses", "functions")


# --- who ---------------------------------------------------------------------------------------------------------

plain_types |= {
    Tensor,
    Size,
    dtypes.dtype,
    devices.device,
    memory_format.memory_format,
    memory_format.layout,
    Generator,
    NoneType,
    type(Ellipsis),
}


def overrides(cls: type) -> bool:
    """Whether a class has a ``__torch_function__`` of its own."""
    if cls in plain_types:
        return False
    own = getattr(cls, "__torch_function__", None)
    return own is not None and own is not disabled_torch_function


def overriding(values: Iterable, found: list, tensors: bool = False) -> list:
    """Adds those among arguments, and lists of them, that are to be asked: one of each class, in this order.

    ``tensors``: among them those of the class Tensor itself, as PyTorch does for functions that it has in Python.
    """
    for x in values:
        cls = x.__class__
        if cls in plain_types and not (tensors and cls is Tensor):
            continue
        if cls is tuple or cls is list:
            overriding(x, found, tensors)
        elif (overrides(cls) or cls is Tensor) and not any([type(y) is cls for y in found]):
            place = next((i for i, y in enumerate(found) if issubclass(cls, type(y))), len(found))
            found.insert(place, x)
    return found


def overridden(function: Callable, args: tuple, kwargs: dict) -> Any:
    """What somebody among the arguments makes of a call; ``NotImplemented`` where nobody is to be asked."""
    if not state.subclasses:
        return NotImplemented
    found = overriding(args, [])
    if kwargs:
        overriding(kwargs.values(), found)
    return answer(function, found, args, kwargs) if found else NotImplemented


def answer(function: Callable, found: list, args: tuple, kwargs: dict) -> Any:
    """:func:`handle`, with the arguments as PyTorch hands them on: where it has the function in Python, what has a default is a
    keyword, and the classes of plain tensors are named too."""
    given = as_python(function, args, kwargs)
    if given is None:
        told_of = args[:1] if not found and _is_of_one(function) else ()
        return handle(function, [*found, *told_of], args, kwargs or None)
    return handle(function, overriding((*given[0], *given[1].values()), [], True) if state.subclasses else [], *given)


def _is_of_one(function: Callable) -> bool:
    """Whether it reads or sets a property, or is a method without arguments: there modes are told the class of the tensor."""
    if hasattr(function, "__self__"):  # an accessor
        return True
    op = getattr(function, "op", None)
    code = getattr(function if op is None else op.check, "__code__", None)
    return (
        is_method(function)
        and code is not None
        and code.co_argcount == 1
        and not code.co_kwonlyargcount
        and not code.co_flags & 0x04
    )


def handle(function: Callable, found: list, args: tuple, kwargs: dict | None) -> Any:
    """Asks the innermost mode, then ``found``."""
    types = tuple([type(x) for x in found])
    rest = (args,) if kwargs is None else (args, kwargs)
    if state.modes and state.functions:
        before = state.modes
        state.modes = before[:-1]
        try:
            result = before[-1].__torch_function__(function, types, *rest)
        finally:
            state.modes = before
        if result is not NotImplemented:
            return result
    if state.subclasses:
        for x in found:
            result = type(x).__torch_function__(function, types, *rest)
            if result is not NotImplemented:
                return result
    name = f"{function.__module__}.{function.__name__}"
    asked = [f"  - tensor subclass {cls}" for cls in types] if state.subclasses else []
    raise TypeError(
        f"Multiple dispatch failed for '{name}'; all __torch_function__ handlers returned NotImplemented:\n\n" + "\n".join(asked)
    )


_COMPILED = frozenset(
    "adaptive_avg_pool1d adaptive_max_pool1d avg_pool1d avg_pool2d avg_pool3d bilinear celu_ channel_shuffle conv1d conv2d conv3d conv_tbc conv_transpose1d "
    "conv_transpose2d conv_transpose3d cosine_similarity elu_ gelu hardshrink hardtanh_ leaky_relu_ linear logsigmoid native_channel_shuffle "
    "one_hot pairwise_distance pdist pixel_shuffle pixel_unshuffle prelu relu_ rrelu_ scaled_dot_product_attention selu_ softplus "
    "softshrink threshold_".split()
)
"""Functions of ``nn.functional`` that PyTorch has compiled: their arguments are handed on as they were given."""
_OF_PYTHON = {"split", "einsum", "tensordot", "broadcast_tensors", "norm", "unique", "unique_consecutive", "meshgrid", "atleast_1d", "atleast_2d",
              "atleast_3d", "block_diag", "cartesian_prod", "cdist", "chain_matmul", "lu", "stft"}  # fmt: skip
_METHODS_OF_PYTHON = {"split", "norm", "unique", "unique_consecutive", "stft", "istft", "lu", "unflatten"}


def as_python(function: Callable, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    """The arguments with keywords for all that has a default; ``None`` for a function that PyTorch has compiled."""
    op = getattr(function, "op", None)
    if op is None:
        name = getattr(function, "__name__", "")
        if name in _TOLD_KEYWORDS:
            return args, kwargs
        own = getattr(function, "__wrapped__", function)
        if name in _INITIALIZERS:
            positional, settings = _bound(own, args, kwargs)
            return (), {**dict(zip(own.__code__.co_varnames, positional)), **settings}
        return _bound(own, args, kwargs) if name in _TOLD_DEFAULTS else None
    space, _, name = op.name.rpartition(".")
    if space == "nn.functional":
        in_python = name not in _COMPILED
    elif is_method(function):
        in_python = name in _METHODS_OF_PYTHON
    else:
        in_python = not space and name in _OF_PYTHON
    if not in_python:
        return None
    return _bound(op.check, args, kwargs)


def _bound(check: Callable, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The arguments with keywords for all that has a default."""
    code, defaults = check.__code__, check.__defaults__ or ()  # type: ignore[attr-defined]
    if code.co_flags & 0x04:  # *tensors
        return args, {**(check.__kwdefaults__ or {}), **kwargs}
    names = code.co_varnames[: code.co_argcount]
    first = len(names) - len(defaults)
    if len(args) > len(names) or not all([n in kwargs for n in names[len(args) : first]]):
        return args, kwargs
    given = {**dict(zip(names, args)), **kwargs}
    positional = tuple([given.pop(n) for n in names[:first]])
    settings = {**dict(zip(names[first:], defaults, strict=True)), **(check.__kwdefaults__ or {}), **given}  # type: ignore[attr-defined]
    return positional, settings


def is_method(function: Callable) -> bool:
    """Whether it is one of the class Tensor rather than the function of the same name."""
    return getattr(function, "__qualname__", "").startswith("Tensor.")


# --- while a mode is on ------------------------------------------------------------------------------------------


class Offering(Watcher):
    """Fills ``dispatch.watch`` while a mode is on in some thread."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self._lock = threading.Lock()

    def open(self) -> None:
        with self._lock:
            self._count += 1
            if self._count == 1:
                learns = getattr(dispatch.watch, "learns", False)  # a composite, in another thread
                self.before, dispatch.watch = None if learns else dispatch.watch, self

    def close(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count and dispatch.watch is self:
                dispatch.watch, self.before = self.before, None

    def __call__(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        if state.modes and state.functions and not state.inside:
            return answer(function, self._found(args, kwargs), args, kwargs)
        op = function.op  # type: ignore[attr-defined]
        if state.inside:
            return self.run(op, args, kwargs)
        if state.subclasses and (found := self._found(args, kwargs)):
            return answer(function, found, args, kwargs)
        return inside(self.run, (op, args, kwargs), {})

    def _found(self, args: tuple, kwargs: dict) -> list:
        return overriding(kwargs.values(), overriding(args, [])) if state.subclasses else []


offering = Offering()


def inside(function: Callable, args: tuple, kwargs: dict) -> Any:
    """``function(*args, **kwargs)``, of whose own calls nobody is told."""
    before, state.inside = state.inside, True
    try:
        return function(*args, **kwargs)
    finally:
        state.inside = before


def offered(function: Callable, args: tuple, kwargs: dict, run: Callable) -> Any:
    """A call of ``function``, which is no op: by whom it concerns, else by ``run(*args, **kwargs)``."""
    if state.inside:
        return run(*args, **kwargs)
    found = overriding(kwargs.values(), overriding(args, [])) if state.subclasses else []
    if found or state.modes and state.functions:
        return answer(function, found, args, kwargs)
    return inside(run, args, kwargs) if dispatch.watch is offering else run(*args, **kwargs)


_TOLD_KEYWORDS = frozenset(
    "__rsub__ __rtruediv__ __floordiv__ __rfloordiv__ __pow__ __rpow__ __rmod__ __rmatmul__ __len__ __contains__ __format__ __reversed__ "
    "__rlshift__ __rrshift__ is_shared share_memory_ dim_order".split()
)
"""Methods that PyTorch has in Python, and so with a dictionary of keywords."""
_TOLD_DEFAULTS = frozenset(["backward", "grad", "__array__"])
"""Functions that PyTorch has in Python and that are no ops here."""

_INITIALIZERS = frozenset(["uniform_", "normal_", "constant_", "kaiming_uniform_"])
"""Of ``nn.init``: all their arguments are keywords."""


def told(function: Function) -> Function:
    """A function that is no op as one whose calls are offered, too."""

    names = function.__code__.co_varnames[: function.__code__.co_argcount]  # type: ignore[attr-defined]

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs and not kwargs.keys() <= set(names):
            kwargs = respelled(names, kwargs)
        if (
            dispatch.watch is None
            and plain_types.issuperset(map(type, args))
            and (not kwargs or plain_types.issuperset(map(type, kwargs.values())))
        ):
            return function(*args, **kwargs)
        return offered(call, args, kwargs, function)

    return call  # type: ignore[return-value]


def push(mode: Any, at_bottom: bool = False) -> None:
    """Turns a mode on."""
    state.modes = (mode, *state.modes) if at_bottom else (*state.modes, mode)
    offering.open()


def pop(mode: Any) -> None:
    """Turns the innermost mode off, or the one given."""
    modes = list(state.modes)
    del modes[len(modes) - 1 - modes[::-1].index(mode)]
    state.modes = tuple(modes)
    offering.close()


# --- methods and properties --------------------------------------------------------------------------------------

_UNSEEN = frozenset(
    "__new__ __init__ __init_subclass__ __torch_function__ __torch_dispatch__ __hash__ __iter__ __doc__ __module__ __dict__ __weakref__ "
    "__array_priority__ __annotations__ __class__ as_subclass register_post_accumulate_grad_hook".split()
)
_SEEN = {"_version", "_is_view"}
_ANSWERED_AS_WRITTEN = frozenset(
    "__getitem__ __setitem__ __len__ __contains__ __bool__ __int__ __float__ __complex__ __index__ __format__ __repr__ __reversed__ __array__ "
    "__array_wrap__ __deepcopy__ __reduce_ex__ __setstate__ __dlpack__ __dlpack_device__ __eq__ __pow__ __rpow__ __rsub__ __rtruediv__ "
    "__floordiv__ __rfloordiv__ __rmod__ __rmatmul__ __invert__ __and__ __or__ __xor__ __lshift__ __rshift__ __rand__ __ror__ __rxor__ "
    "__rlshift__ __rrshift__".split()
)
"""Of the special methods those that are offered under their own names; the others are methods, such as ``add``."""


def originals() -> dict[str, Any]:
    """By name, the methods and properties of tensors that are no ops: as they were before anybody asked to be told of them."""
    if not _originals:
        for name, value in Tensor.__dict__.items():
            special = name.startswith("__")
            if (
                name in _UNSEEN
                or special
                and name not in _ANSWERED_AS_WRITTEN
                or name.startswith("_")
                and not special
                and name not in _SEEN
            ):
                continue
            if isinstance(value, property) or callable(value) and (special or not hasattr(value, "op")):
                _originals[name] = value
    return _originals


_originals: dict[str, Any] = {}


class _Telling:
    """A method that offers its calls first. Of the class it is the method itself, so that programs know it when they are asked for
    it."""

    def __init__(self, name: str, original: Callable) -> None:
        self.original = original
        function = originals().get(_SAME.get(name, name), original)
        if name == "__repr__":  # which tells of its keyword

            def shown(t: Tensor, *, tensor_contents: str | None = None) -> Any:
                return offered(function, (t,), {"tensor_contents": tensor_contents}, original)

        def call(*args: Any, **kwargs: Any) -> Any:
            return offered(function, args, kwargs, original)

        self.call: Callable = shown if name == "__repr__" else call

    def __get__(self, t: Tensor | None, cls: type | None = None) -> Any:
        return self.original if t is None else MethodType(self.call, t)


_SAME = {"nelement": "numel", "ndimension": "dim"}


class _TellingProperty:
    """A property of tensors that offers itself to classes and modes before it is read or set."""

    def __init__(self, original: property) -> None:
        self.original = original
        self.__doc__ = original.__doc__

    def __get__(self, t: Tensor | None, cls: type | None = None) -> Any:
        original = self.original
        return original if t is None else offered(original.__get__, (t,), {}, original.fget)  # type: ignore[arg-type]

    def __set__(self, t: Tensor, value: Any) -> None:
        offered(self.original.__set__, (t, value), {}, self.original.__set__)

    def __delete__(self, t: Tensor) -> None:
        offered(self.original.__delete__, (t,), {}, self.original.__delete__)


def _telling(name: str, original: Any) -> Any:
    return _TellingProperty(original) if isinstance(original, property) else _Telling(name, original)


def adopt(cls: type) -> None:
    """Sees to it that a new class of tensors is asked."""
    if not overrides(cls) and getattr(cls, "__torch_dispatch__", None) is None:
        plain_types.add(cls)
        return
    own = {name for base in cls.__mro__[: cls.__mro__.index(Tensor)] for name in base.__dict__}
    if overrides(cls):
        for name, original in originals().items():
            if name not in own:
                setattr(cls, name, _telling(name, original))
    if "_layout" not in own:
        cls._layout = _NoLayout()  # type: ignore[attr-defined]
    if getattr(cls, "__torch_dispatch__", None) is not None:
        from flambeau.tensor.dispatched import adopt_dispatching

        adopt_dispatching(cls, own)
    _watch_writes()


class _NoLayout:
    """In place of a tensor's layout: it has none by which calls could be known, so that all are recorded in full."""

    def __get__(self, t: Any, cls: type | None = None) -> None:
        return None

    def __set__(self, t: Any, value: Any) -> None:
        pass


def tell_of_methods() -> None:
    """Lets modes know of calls of methods, and of properties, of all tensors from now on."""
    for name, original in originals().items():
        if Tensor.__dict__[name] is original:
            setattr(Tensor, name, _telling(name, original))
    _watch_writes()


def _watch_writes() -> None:
    """Offers in-place calls of ops from now on."""
    before = dispatch.inplace
    if getattr(before, "offers", False):
        return

    def inplace(function: Callable, input: Tensor, args: tuple, kwargs: dict) -> Any:
        if state.inside or not (state.modes or input.__class__ not in plain_types or overriding((*args, *kwargs.values()), [])):
            return before(function, input, args, kwargs)
        form = Tensor.__dict__.get(function.__name__ + "_", function)
        return offered(form, (input, *args), kwargs, lambda input, *args, **kwargs: before(function, input, args, kwargs))

    inplace.offers = True  # type: ignore[attr-defined]
    dispatch.inplace = inplace


# --- what tensors do themselves ----------------------------------------------------------------------------------


def _torch_function(cls: type, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict | None = None) -> Any:
    """What a subclass of Tensor does with a call unless it says otherwise: the call, with the results of its own class."""
    if not all([issubclass(cls, t) for t in types]):
        return NotImplemented
    before, state.subclasses = state.subclasses, False
    try:
        result = func(*args, **(kwargs or {}))
        return result if func in default_nowrap() else converted(result, cls)
    finally:
        state.subclasses = before


def default_nowrap() -> set[Callable]:
    """What gives plain tensors in any case."""
    return {originals()["grad"].__get__}


def converted(result: Any, cls: type) -> Any:
    """A result, or those in a tuple or list, as tensors of class ``cls``."""
    if cls is Tensor:
        return result
    if isinstance(result, Tensor) and not isinstance(result, cls):
        return result.as_subclass(cls)
    if isinstance(result, (tuple, list)) and not isinstance(result, Size):
        return type(result)([converted(r, cls) for r in result])
    return result


def _as_subclass(self: Tensor, cls: type) -> Tensor:
    """This tensor as an instance of a subclass of Tensor."""
    if dispatch.grad_mode.enabled and (self._grad_fn is not None or self._requires_grad):
        before, state.subclasses = state.subclasses, False
        try:
            self = inside(_alias, (self,), {})
        finally:
            state.subclasses = before
    return self._alias(cls)


_alias = registry["_alias"].function


def _offered(function: Callable, args: tuple, kwargs: dict) -> Any:
    if state.inside or not state.modes or not state.functions:
        return None
    return handle(function, [], args, kwargs or None)


Tensor.as_subclass = _as_subclass  # type: ignore[method-assign, assignment]
dispatch.offered = _offered
Tensor.__torch_function__ = classmethod(_torch_function)  # type: ignore[attr-defined]
dispatch.overridden = overridden
dispatch.adopt = adopt
