"""What captured code reads besides its arguments, as conditions.

Code can only get at what its globals, closures, defaults and arguments lead to. So all of that is walked, by the names of
attributes that the code has in it: numbers and strings must keep their values, everything else stay the same object with
the same content. A walk that meets what it does not know refuses the function.
"""

from __future__ import annotations

import builtins
import enum
import functools
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from types import FunctionType, MethodType, ModuleType
from typing import Any

from flambeau import dispatch
from flambeau.compiling.watch import NUMPY, ROOT, Refused, Watch, attributes_of, facts_of, watching
from flambeau.core import config, dtypes
from flambeau.core.device import device
from flambeau.core.errors import is_own_file
from flambeau.core.memory_format import layout, memory_format
from flambeau.core.size import Size
from flambeau.nn.modules import _hooks
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Buffer, Parameter
from flambeau.tensor.attributes import contents_of
from flambeau.tensor.tensor import Tensor

MAX_OBJECTS = 8192
MAX_LENGTH = 256
"""Of a list or dict that is looked at element by element."""

TENSORS = (Tensor, Parameter, Buffer)
CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(...), dtypes.dtype, device, memory_format, layout, range)
_PURE_BUILTINS = frozenset(
    """ArithmeticError AssertionError AttributeError Ellipsis Exception False IndexError KeyError LookupError NotImplemented
    NotImplementedError None RuntimeError StopIteration True TypeError ValueError ZeroDivisionError abs all any bool bytes
    callable chr classmethod complex dict divmod enumerate filter float format frozenset int isinstance issubclass iter len list map max
    min next object ord pow property range repr reversed round set slice sorted staticmethod str sum super tuple type zip
    __debug__ __name__ __build_class__""".split()
)
_PURE_MODULES = frozenset(
    {"__future__", "abc", "collections", "dataclasses", "enum", "functools", "itertools", "math", "numbers", "operator", "types",
     "typing", "typing_extensions"}
)  # fmt: skip
_NATIVE = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, types.MethodWrapperType)
_MODULE_HOOKS = (
    _hooks.global_forward_pre_hooks, _hooks.global_forward_hooks, _hooks.global_backward_pre_hooks, _hooks.global_backward_hooks,
)  # fmt: skip


class Miss:
    """What a replay returns whose guards do not hold, and why."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


def same(a: Any, b: Any) -> bool:
    """Whether a constant is what it was: 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    return a.__class__ is b.__class__ and repr(a) == repr(b)


class Guards:
    """Lines of code that return a :class:`Miss` where a condition does not hold, and the values that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: dict[str, Any] = {
            "same": same, "layout_of": dispatch.layout_of, "Tensor": Tensor, "config": config, "dtypes": dtypes,
            "grad_mode": dispatch.grad_mode, "autocast": dispatch.autocast, "watching": watching, **dispatch.tape_parts(),
        }  # fmt: skip
        self._names: dict[int, str] = {}

    def name(self, value: Any, hint: str = "k") -> str:
        """The variable that stands for this very object."""
        found = self._names.get(id(value))
        if found is None:
            found = self._names[id(value)] = f"{hint}{len(self.values)}"
            self.values[found] = value
        return found

    def require(self, condition: str, reason: str) -> None:
        self.lines.append(f"if not ({condition}): return {self.name(Miss(reason), 'miss')}")

    def refuse_if(self, condition: str, reason: str) -> None:
        self.lines.append(f"if {condition}: return {self.name(Miss(reason), 'miss')}")

    def constant(self, value: Any, text: str, what: str) -> None:
        k = self.name(value)
        self.require(f"{text} is {k} or same({text}, {k})", f"{what} is no longer {value!r}")

    def modes(self) -> None:
        """The settings that recording depends on."""
        self.refuse_if("watching", "another function is being captured")
        self.require(f"grad_mode.enabled is {dispatch.grad_mode.enabled}", "gradients are recorded, or no longer recorded")
        self.refuse_if(
            "autocast.cast is not None or config.eager or saving_hooks or anomaly.enabled "
            f"or dtypes._default is not {self.name(dtypes.get_default_dtype())}",
            "autocast, immediate mode, hooks of saved tensors, anomaly detection or the default dtype",
        )

    def function(self, name: str, parameters: str, guards: list[str], body: list[str]) -> Callable:
        """``def name(parameters)``: the lines of guards, which may fail where something is gone, and the body."""
        text = (
            f"def {name}({parameters}):\n    try:\n" + "".join(f"        {line}\n" for line in guards)
            + "    except (AttributeError, IndexError, KeyError, ValueError) as error:\n        return gone(error)\n"
            + "".join(f"    {line}\n" for line in body)
        )  # fmt: skip
        # Global variables, not those of a closure: a call would copy all of these.
        scope = {**self.values, "gone": lambda error: Miss(f"something is gone: {error!r}")}
        exec(compile(text, f"{ROOT}compiling/<captured {name}>", "exec"), scope)
        return scope[name]


class State(Guards):
    """The guards of everything that watched code reads, from the function and the ``arguments`` that are no tensors or numbers."""

    def __init__(self, watch: Watch, function: Any, arguments: list[tuple[Any, str, str]]) -> None:
        super().__init__()
        self.tensors: dict[int, Tensor] = {}
        self.containers: set[int] = set()
        self._seen: set = set()
        self._code = {code for code, _ in watch.user}
        self._closures: set = set()
        self.names: set[str] = {n for code, _ in watch.layers for n in attributes_of(code)}
        for code, _ in watch.user:
            self.names |= facts_of(code).names
        self.modes()
        self.walk(function, self.name(function), "the function")
        for value, text, what in arguments:
            self.walk(value, text, what)
        for (code, _), scope in watch.user.items():
            self._globals(code, scope)
        nested = {c for code in self._code for c in code.co_consts if c.__class__ is code.__class__}
        for code in self._code:
            if set(code.co_freevars) - {"__class__"} and code not in self._closures and code not in nested:
                raise Refused(f"where {code.co_name} has its variables from is not known")
        if any(isinstance(x, Module) for x in self.values.values()):
            hooks = " or ".join(self.name(h) for h in _MODULE_HOOKS)
            if any(_MODULE_HOOKS):
                raise Refused("there are hooks for all modules")
            self.refuse_if(hooks, "there are hooks for all modules")

    def _globals(self, code, scope: dict) -> None:
        g = self.name(scope, "g")
        for name in sorted(facts_of(code).globals):
            if name in scope:
                self.walk(scope[name], f"{g}[{name!r}]", f"the global {name}")
                continue
            if hasattr(builtins, name) and name not in _PURE_BUILTINS:
                raise Refused(f"it may call {name}()")
            self.require(f"{name!r} not in {g}", f"there is a global {name} now")

    def walk(self, value: Any, text: str, what: str) -> None:
        """Guards what ``text`` leads to."""
        kind = value.__class__
        if kind in CONSTANTS or kind in (tuple, Size, frozenset) and all(x.__class__ in CONSTANTS for x in value):
            self.constant(value, text, what)
            return
        k = self.name(value)
        if text != k:
            self.require(f"{text} is {k}", f"{what} is another object")
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        if len(self._seen) > MAX_OBJECTS:
            raise Refused("it can reach too many objects")
        if isinstance(value, Tensor):
            self._tensor(value, k, what)
        elif isinstance(value, Module):
            self._module(value, k, what)
        elif kind is FunctionType:
            self._function(value, k, what)
        elif isinstance(value, type):
            self._class(value, k, what)
        elif kind is MethodType:
            self.walk(value.__self__, f"{k}.__self__", what)
            self.walk(value.__func__, f"{k}.__func__", what)
        elif kind is ModuleType:
            self._python_module(value, k)
        elif kind in _NATIVE:
            self._native(value, what)
        elif kind is functools.partial:
            for part in ("func", "args", "keywords"):
                self.walk(getattr(value, part), f"{k}.{part}", what)
        elif kind is dict or kind is OrderedDict:
            self._dict(value, k, what)
        elif kind is list or isinstance(value, tuple):
            if len(value) > MAX_LENGTH:
                raise Refused(f"{what} has {len(value)} elements")
            if kind is list:
                self.containers.add(id(value))
                self.require(f"len({k}) == {len(value)}", f"the length of {what} has changed")
            for i, x in enumerate(value):
                self.walk(x, f"{k}[{i}]", f"{what}[{i}]")
        elif not isinstance(value, enum.Enum):
            self._instance(value, k, what)

    def _dict(self, value: dict, k: str, what: str) -> None:
        self.containers.add(id(value))
        if not value:
            self.refuse_if(k, f"{what} is no longer empty")
            return
        if len(value) > MAX_LENGTH or any(x.__class__ not in (str, int) for x in value):
            raise Refused(f"{what} has many or unusual keys")
        keys = [*value]
        if any(x.__class__ is int for x in keys):
            self.require(f"same([*{k}], {self.name(keys)})", f"the keys of {what} have changed")
        else:
            self.require(f"[*{k}] == {self.name(keys)}", f"the keys of {what} have changed")
        for key, x in value.items():
            self.walk(x, f"{k}[{key!r}]", f"{what}[{key!r}]")

    def _tensor(self, t: Tensor, k: str, what: str) -> None:
        if t.__class__ not in TENSORS:
            raise Refused(f"{what} is a {t.__class__.__name__}")
        storage = t._storage
        if storage.exposed and storage.is_shared():
            raise Refused(f"{what} shares its memory with NumPy")
        if t._grad_fn is not None:
            raise Refused(f"{what} is no leaf of the tape")
        for name in contents_of(t):
            if name in self.names and not name.startswith("_"):
                raise Refused(f"it may read the attribute {name} of {what}")
        self.tensors[id(t)] = t
        s = self.name(storage, "S")
        layout = self.name(dispatch.layout_of(t), "L")
        self.refuse_if(
            f"({k}._layout or layout_of({k})) is not {layout} or {k}._offset != {t._offset} or {k}._storage is not {s} "
            f"or {s}.exposed and {s}.is_shared()",
            f"{what} has another shape, dtype or memory, needs gradients or no longer does, or NumPy shares it",
        )
        if t._base is not None:
            self.require(f"{k}._history == {s}.history", f"{what} is a view of what has been written to")

    def _module(self, m: Module, k: str, what: str) -> None:
        attributes = vars(m)
        d = self.name(attributes, "d")
        kind = type(m)
        self.require(f"type({k}) is {self.name(kind)} and {k}.__dict__ is {d}", f"{what} is of another class")
        self._class(kind, self.name(kind), f"the class of {what}")
        if "_parameters" not in attributes:
            raise Refused(f"{what} has not been initialized")
        for registry in ("_parameters", "_buffers", "_modules"):
            members = attributes[registry]
            self._seen.add(id(members))
            if not members and registry not in self.names:
                continue  # whoever reads a member by its name would have failed
            r = self.name(members, "r")
            self.require(f"{d}[{registry!r}] is {r}", f"{what}.{registry} is another object")
            if registry in self.names:
                self._dict(members, r, f"{what}.{registry}")
                continue
            for name, x in members.items():
                self.walk(x, f"{r}[{name!r}]", f"{what}.{name}")
        hooks = [n for n in attributes if n in self.names and n.endswith("_hooks") and not attributes[n]]
        if hooks:
            self.refuse_if(" or ".join(f"{d}[{n!r}]" for n in hooks), f"{what} has got a hook")
        skipped = ("_parameters", "_buffers", "_modules", *hooks)
        for name in attributes:
            if name in self.names and name not in skipped:
                self.walk(attributes[name], f"{d}[{name!r}]", f"{what}.{name}")
        members = {*attributes["_parameters"], *attributes["_buffers"], *attributes["_modules"]}
        self._absent({n for n in self.names if n in members or hasattr(kind, n)}, attributes, d, what)

    def _instance(self, value: Any, k: str, what: str) -> None:
        kind = type(value)
        if (
            is_own_class(kind) or kind.__module__ == "builtins" or not hasattr(value, "__dict__")
            or kind is not types.SimpleNamespace and (not _is_user_class(kind) or _native_base(kind))
        ):  # fmt: skip
            raise Refused(f"{what} is of class {kind.__name__}")
        attributes = vars(value)
        d = self.name(attributes, "d")
        self.require(f"type({k}) is {self.name(kind)} and {k}.__dict__ is {d}", f"{what} is of another class")
        self._class(kind, self.name(kind), f"the class of {what}")
        for name in attributes:
            if name in self.names:
                self.walk(attributes[name], f"{d}[{name!r}]", f"{what}.{name}")
        self._absent({n for n in self.names if hasattr(kind, n)}, attributes, d, what)

    def _absent(self, names: set[str], attributes: dict, d: str, what: str) -> None:
        absent = [n for n in sorted(names) if n not in attributes and not n.startswith("__")]
        if absent:
            self.require(" and ".join(f"{n!r} not in {d}" for n in absent), f"{what} has an attribute of its own now")

    def _function(self, f: FunctionType, k: str, what: str) -> None:
        if is_own_file(f.__code__.co_filename):
            # A function under no_grad, or a compiled one: what it calls is the user's.
            if "_torchdynamo_orig_callable" in f.__dict__:
                self.walk(f._torchdynamo_orig_callable, f"{k}._torchdynamo_orig_callable", what)  # type: ignore[attr-defined]
            elif "__wrapped__" in f.__dict__ and not hasattr(f, "op"):
                self.walk(f.__wrapped__, f"{k}.__wrapped__", what)  # type: ignore[attr-defined]
            return
        if f.__code__.co_filename.startswith(NUMPY):
            raise Refused(f"{what} is a function of NumPy")
        if f.__code__ not in self._code:
            return
        self._closures.add(f.__code__)
        self.require(f"{k}.__code__ is {self.name(f.__code__)}", f"{what} has other code")
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            if name == "__class__":
                continue
            try:
                value = cell.cell_contents
            except ValueError:
                raise Refused(f"{name} has no value yet") from None
            self.walk(value, f"{self.name(cell, 'cell')}.cell_contents", f"the variable {name} of {f.__name__}")
        for part in ("__defaults__", "__kwdefaults__"):
            if getattr(f, part):
                self.walk(getattr(f, part), f"{k}.{part}", f"a default of {f.__name__}")
        for name in f.__dict__:
            if name in self.names:
                self.walk(f.__dict__[name], f"{k}.__dict__[{name!r}]", f"{f.__name__}.{name}")

    def _class(self, kind: type, k: str, what: str) -> None:
        if (id(kind), "class") in self._seen:
            return
        self._seen.add((id(kind), "class"))
        if kind.__module__ == "builtins" or kind.__module__.partition(".")[0] in _PURE_MODULES:
            return
        if is_own_class(kind):
            forward = kind.__dict__.get("forward")
            if forward.__class__ is FunctionType and issubclass(kind, Module):
                self.require(f"{k}.forward is {self.name(forward)}", f"{kind.__name__}.forward has been replaced")
            if not issubclass(kind, (Module, Tensor)) and kind.__module__.startswith(("flambeau.optim", "torch.optim")):
                raise Refused(f"{what} is an optimizer")
            return
        if not _is_user_class(kind):
            raise Refused(f"{what} is the class {kind.__module__}.{kind.__name__}")
        for base in kind.__mro__:
            if base is object or is_own_class(base) and base is not kind:
                continue
            b = self.name(base)
            for name, value in list(vars(base).items()):
                special = name.startswith("__") and value.__class__ is FunctionType
                if name in self.names or special:
                    self._class_attribute(kind, k, base, b, name, value)

    def _class_attribute(self, kind: type, k: str, base: type, b: str, name: str, value: Any) -> None:
        what = f"{base.__name__}.{name}"
        if value.__class__ is FunctionType:
            v = self.name(value)
            self.require(f"{b}.__dict__[{name!r}] is {v}", f"{what} has been replaced")
            if getattr(kind, name, None) is value and base is not kind:
                self.require(f"{name!r} not in {k}.__dict__", f"{kind.__name__}.{name} hides {what}")
            if id(value) not in self._seen:
                self._seen.add(id(value))
                self._function(value, v, what)
            return
        if value.__class__ in (types.GetSetDescriptorType, types.MemberDescriptorType) or name in (
            "__dict__",
            "__doc__",
            "__module__",
        ):
            return
        inside: list = []
        if value.__class__ is property:
            inside = [value.fget, value.fset]
        elif value.__class__ in (staticmethod, classmethod):
            inside = [value.__func__]
        else:
            self.walk(value, f"{b}.__dict__[{name!r}]", what)
            return
        self.require(f"{b}.__dict__[{name!r}] is {self.name(value)}", f"{what} has been replaced")
        for f in inside:
            if f.__class__ is FunctionType and id(f) not in self._seen:
                self._seen.add(id(f))
                self._function(f, self.name(f), what)

    def _python_module(self, module: ModuleType, k: str) -> None:
        root = module.__name__.partition(".")[0]
        path = getattr(module, "__file__", None) or ""
        if path.startswith(ROOT) or root in _PURE_MODULES:
            return
        if root in sys.stdlib_module_names or root == "numpy" or root == "builtins":
            raise Refused(f"it uses the module {module.__name__}")
        d = self.name(vars(module), "g")
        for name in list(vars(module)):
            if name in self.names:
                self.walk(vars(module)[name], f"{d}[{name!r}]", f"{module.__name__}.{name}")

    def _native(self, value: Any, what: str) -> None:
        owner = getattr(value, "__module__", None) or getattr(getattr(value, "__objclass__", None), "__module__", None)
        if owner == "builtins" and value.__name__ in _PURE_BUILTINS or str(owner).lstrip("_") in _PURE_MODULES:
            return
        raise Refused(f"{what} is a function of which nothing is known")


def is_own_class(kind: type) -> bool:
    """Whether flambeau defines the class."""
    module = sys.modules.get(kind.__module__)
    return kind.__module__.partition(".")[0] in ("flambeau", "torch") and (
        module is None or (getattr(module, "__file__", None) or ROOT).startswith(ROOT)
    )


def _is_user_class(kind: type) -> bool:
    root = kind.__module__.partition(".")[0]
    return (
        type(kind).__module__ in ("builtins", "abc", "enum")
        and root not in sys.stdlib_module_names | {"numpy"}
        or (root == "__main__")
    )


def _native_base(kind: type) -> bool:
    """Whether instances have content that is not in their ``__dict__``."""
    return any(
        base is not object and (base.__module__ == "builtins" or "__slots__" in vars(base) and vars(base)["__slots__"])
        for base in kind.__mro__
    )
