"""``torch.jit.trace``: what a function or module calls for example inputs, as code of one straight line.

The calls of ops are observed while the program runs (see ``dispatch.watch``), with the tensors that it computes. Sizes that it
reads are numbers that know where they come from, so that the code serves other sizes. Tensors that no call has made are constants,
as in PyTorch; parameters, buffers and what else the module holds are its attributes.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import EllipsisType
from typing import Any

from flambeau import dispatch
from flambeau.core.device import device
from flambeau.core.dtypes import dtype
from flambeau.core.memory_format import layout, memory_format
from flambeau.core.size import Size, size_of_ints
from flambeau.jit.language import Function, Refused, Scope
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = ["Trace", "TracingCheckError", "is_tracing", "record"]


class TracingCheckError(Exception):
    """What was traced does not compute what the program computes."""


class _TracedInt(int):
    """A size of a tensor: a number, and the code that computes it."""

    text: str

    def __reduce__(self) -> tuple:
        return int, (int(self),)


def _traced(value: int, text: str) -> _TracedInt:
    made = _TracedInt(value)
    made.text = text
    return made


def _arithmetic(name: str, symbol: str) -> None:
    plain, reflected = getattr(int, f"__{name}__"), getattr(int, f"__r{name}__")

    def forwards(self: _TracedInt, other: Any) -> Any:
        result = plain(self, other)
        return _traced(result, f"({self.text} {symbol} {_text_of_int(other)})") if type(result) is int else result

    def backwards(self: _TracedInt, other: Any) -> Any:
        result = reflected(self, other)
        return _traced(result, f"({_text_of_int(other)} {symbol} {self.text})") if type(result) is int else result

    setattr(_TracedInt, f"__{name}__", forwards)
    setattr(_TracedInt, f"__r{name}__", backwards)


def _text_of_int(x: Any) -> str:
    return x.text if isinstance(x, _TracedInt) else repr(x)


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "mod": "%"}.items():
    _arithmetic(_name, _symbol)


def text_of_path(path: str) -> str:
    """The code for what a module has at a path: ``getattr(self.layers, '0').weight``."""
    text = "self"
    for part in path.split("."):
        text = f"{text}.{part}" if part.isidentifier() else f"getattr({text}, {part!r})"
    return text


_recorder: Recorder | None = None


def is_tracing() -> bool:
    """Whether a program is being traced."""
    return _recorder is not None


class Recorder:
    """Writes down what is called while it is entered; fills ``dispatch.watch``."""

    whole = True

    def __init__(self, root: Module | None, dynamic: bool = True) -> None:
        self.dynamic = dynamic  # whether sizes are those of the arguments, whatever these are
        self.names: dict[int, str] = {}
        self.kept: list[Any] = []
        self.memory: dict[int, list[Tensor]] = {}
        self.lines: list[str] = []
        self.constants: list[Tensor] = []
        self.failure: str | None = None
        self.busy = False
        if root is not None:
            for path, module in root.named_modules():
                for name, value in [*module._parameters.items(), *module._buffers.items(), *module.__dict__.items()]:
                    if isinstance(value, Tensor):
                        self.know(value, text_of_path(f"{path}.{name}" if path else name))

    def know(self, t: Tensor, name: str) -> None:
        self.names.setdefault(id(t), name)
        self.kept.append(t)
        self.memory.setdefault(id(t._storage), []).append(t)

    def new_name(self) -> str:
        return f"_{len(self.kept)}_{len(self.lines)}"

    # --- calls ------------------------------------------------------------------------------------------------

    def __call__(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        return self.observe("ops.flambeau." + function.op.name, function, args, kwargs)  # type: ignore[attr-defined]

    def observe(self, path: str, function: Callable, args: tuple, kwargs: dict) -> Any:
        """Calls a function on plain arguments, and writes the call down."""
        if self.busy:
            return function(*args, **kwargs)
        before = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        try:
            parts = [self.text(a) for a in args] + [f"{k}={self.text(v)}" for k, v in kwargs.items()]
        except Refused as refusal:
            self.failure = self.failure or str(refusal)
            parts = []
        self.busy, watch, dispatch.watch = True, dispatch.watch, None
        try:
            result = function(*_plain(args), **_plain(kwargs))
        finally:
            self.busy, dispatch.watch = False, watch
        if isinstance(result, Tensor) and any(result is b for b in before):
            self.lines.append(f"{path}({', '.join(parts)})")
            return result
        name = self.new_name()
        self.lines.append(f"{name} = {path}({', '.join(parts)})")
        self.know_result(result, name)
        return result

    def know_result(self, result: Any, name: str) -> None:
        if isinstance(result, Tensor):
            self.know(result, name)
        elif isinstance(result, (tuple, list)):
            for i, part in enumerate(result):
                self.know_result(part, f"{name}[{i}]")

    def note_write(self, input: Tensor, result: Tensor) -> None:
        if not self.busy:
            self.failure = self.failure or "it writes to a tensor in a way that a trace cannot say"

    # --- texts ------------------------------------------------------------------------------------------------

    def text(self, x: Any) -> str:
        """The code for a value."""
        if isinstance(x, Tensor):
            return self.name_of(x)
        if isinstance(x, _TracedInt):
            return x.text
        if isinstance(x, (bool, int, str, type(None), EllipsisType)):
            return "..." if x is ... else repr(x)
        if isinstance(x, float):
            return repr(x) if math.isfinite(x) else ("nan" if math.isnan(x) else "inf" if x > 0 else "(-inf)")
        if isinstance(x, complex):
            return f"complex({x.real!r}, {x.imag!r})"
        if isinstance(x, (tuple, Size)):
            return "(" + "".join([self.text(v) + ", " for v in x]) + ")"
        if isinstance(x, list):
            return "[" + ", ".join([self.text(v) for v in x]) + "]"
        if isinstance(x, dict):
            return "{" + ", ".join([f"{self.text(k)}: {self.text(v)}" for k, v in x.items()]) + "}"
        if isinstance(x, slice):
            return f"ops.flambeau.slice({self.text(x.start)}, {self.text(x.stop)}, {self.text(x.step)})"
        if isinstance(x, dtype):
            return f"ops.flambeau.dtype({x.name!r})"
        if isinstance(x, (memory_format, layout)):
            return f"ops.flambeau.format({x.name!r})"
        if isinstance(x, device):
            return f"ops.flambeau.device({str(x)!r})"
        if hasattr(x, "__index__"):
            return repr(int(x))
        if hasattr(x, "item") and not getattr(x, "shape", ()):
            return self.text(x.item())
        raise Refused(f"it gives an op a {type(x).__name__}")

    def name_of(self, t: Tensor) -> str:
        name = self.names.get(id(t))
        if name is not None:
            return name
        for other in self.memory.get(id(t._storage), ()):
            if (other._shape, other.stride(), other._offset, other._dtype) == (t._shape, t.stride(), t._offset, t._dtype):
                name = self.names[id(other)]
                self.names[id(t)] = name
                self.kept.append(t)
                return name
        self.constants.append(_detached(t))
        self.know(t, f"CONSTANTS.c{len(self.constants) - 1}")
        return self.names[id(t)]

    # --- while the program runs -------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[None]:
        """Observes calls inside."""
        global _recorder
        before, outer, inplace = dispatch.watch, _recorder, dispatch.inplace
        shape, size, get, put, detach = Tensor.shape, Tensor.size, Tensor.__getitem__, Tensor.__setitem__, Tensor.detach
        own = self

        def in_place(function: Callable, input: Tensor, args: tuple, kwargs: dict) -> Any:
            path = f"ops.flambeau.{function.op.name}_"  # type: ignore[attr-defined]
            return own.observe(path, lambda x, *a, **k: inplace(function, x, a, k), (input, *args), kwargs)

        def sizes(t: Tensor) -> Size:
            if own.busy or not own.dynamic or id(t) not in own.names:
                return t._shape
            return size_of_ints(tuple([_traced(n, f"ops.flambeau.size({own.names[id(t)]}, {i})") for i, n in enumerate(t._shape)]))

        def size_of(t: Tensor, dim: int | None = None) -> Any:
            return sizes(t) if dim is None else sizes(t)[t._dim(dim)]

        def observed(name: str, function: Callable) -> Callable:
            return lambda *args, **kwargs: own.observe(f"ops.flambeau.{name}", function, args, kwargs)

        Tensor.shape, Tensor.size = property(sizes), size_of  # type: ignore[method-assign, assignment]
        Tensor.__getitem__, Tensor.__setitem__ = observed("getitem", get), observed("setitem", put)  # type: ignore[method-assign]
        Tensor.detach = observed("detach", detach)  # type: ignore[method-assign]
        dispatch.watch, dispatch.inplace, _recorder = self, in_place, self
        try:
            yield
        finally:
            dispatch.watch, dispatch.inplace, _recorder = before, inplace, outer
            Tensor.shape, Tensor.size = shape, size  # type: ignore[method-assign, assignment]
            Tensor.__getitem__, Tensor.__setitem__ = get, put  # type: ignore[method-assign]
            Tensor.detach = detach  # type: ignore[method-assign]


_detached = Tensor.detach


def _plain(x: Any) -> Any:
    """Arguments without what is known of sizes."""
    if isinstance(x, _TracedInt):
        return int(x)
    if type(x) in (tuple, list):
        return type(x)([_plain(v) for v in x])
    if isinstance(x, Size):
        return size_of_ints(tuple([int(v) for v in x]))
    if type(x) is dict:
        return {k: _plain(v) for k, v in x.items()}
    if isinstance(x, slice):
        return slice(_plain(x.start), _plain(x.stop), _plain(x.step))
    return x


class Trace:
    """Code of one straight line, and the constants in it."""

    def __init__(self, source: str, constants: list[Tensor], values: dict[str, Tensor]) -> None:
        self.source, self.constants, self.values = source, constants, values
        code = ast.parse(source).body[0]
        assert isinstance(code, ast.FunctionDef)
        self.function = Function(code, Scope(constants, lambda name: None))


def record(
    function: Callable,
    root: Module | None,
    args: tuple,
    kwargs: dict,
    name: str = "forward",
    names: list[str] | None = None,
    dynamic: bool = True,
) -> tuple[Trace | None, Any, str | None]:
    """Runs a function; what it called, what it returned, and, where it cannot be traced, why."""
    from flambeau.core import nests

    recorder = Recorder(root, dynamic)
    names = names or [f"argument_{i}" for i in range(len(args))]
    for given, value in [*zip(names, args), *kwargs.items()]:
        _know_argument(recorder, value, given)
    with recorder.running():
        result = function(*args, **kwargs)
    if not nests.tree_leaves(result):
        recorder.failure = "it returns nothing"
    try:
        returned = recorder.text(result)
    except Refused:
        return None, result, f"it returns a {type(result).__name__}"
    if recorder.failure is not None:
        return None, result, recorder.failure
    parameters = ", ".join([*(["self"] if root is not None else []), *names, *kwargs])
    body = "\n".join("  " + line for line in [*recorder.lines, f"return {returned}"])
    values = {recorder.names[id(t)]: t for t in recorder.kept if isinstance(t, Tensor)}
    return Trace(f"def {name}({parameters}):\n{body}\n", recorder.constants, values), result, None


def _know_argument(recorder: Recorder, value: Any, name: str) -> None:
    if isinstance(value, Tensor):
        recorder.know(value, name)
    elif isinstance(value, (tuple, list)):
        for i, part in enumerate(value):
            _know_argument(recorder, part, f"{name}[{i}]")
    elif isinstance(value, dict):
        for key, part in value.items():
            _know_argument(recorder, part, f"{name}[{key!r}]")


def check(own: Any, theirs: Any, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    """Warns where a trace computes something else than the program."""
    from flambeau.core import nests

    for a, b in zip(nests.tree_leaves(own), nests.tree_leaves(theirs)):
        if isinstance(b, Tensor) and not (
            a.shape == b.shape and (a == b).all() or a.is_floating_point() and _close(a, b, rtol, atol)
        ):
            warnings.warn(
                "Output nr 1. of the traced function does not match the corresponding output of the Python function. The program may draw "
                "random numbers, or decide by values",
                stacklevel=4,
            )
            return


def _close(a: Tensor, b: Tensor, rtol: float, atol: float) -> bool:
    return a.shape == b.shape and bool(a.isclose(b, rtol=rtol, atol=atol, equal_nan=True).all())
