"""TorchScript archives: the objects in them, and the code of their classes.

An archive is a zip file as those of ``torch.save``, with code beside the data: a file for each namespace, such as
``code/__torch__/models/net.py``, with the classes and functions in it; ``constants.pkl`` has the tensors that the code names.
Objects are built of the pickle by the reader of ``torch.load``; methods are :class:`flambeau.jit.language.Function` objects.
"""

from __future__ import annotations

import ast
import io
from collections import namedtuple
from pickle import UnpicklingError
from typing import IO, Any

from flambeau import nn
from flambeau.jit.language import Function, Refused, Scope
from flambeau.jit.modules import RecursiveScriptModule, ScriptFunction, ScriptObject, as_method, made_of
from flambeau.jit.operators import find_operator
from flambeau.jit.scripting import is_builtin
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.serialization.archive import ArchiveReader
from flambeau.serialization.storages import MapLocation, parse_id, place, typed
from flambeau.serialization.unpickler import Unpickler
from flambeau.serialization.vocabulary import Vocabulary
from flambeau.tensor import Tensor
from flambeau.tensor.storage import Storage
from flambeau.tensor.storages import AnyStorage, UntypedStorage

__all__ = ["read"]


class _Archive:
    """One archive: its classes and functions are made when they are asked for."""

    def __init__(self, file: IO[bytes], map_location: MapLocation) -> None:
        self.reader = ArchiveReader(file, code=True)
        self.size = file.seek(0, 2)
        self.map_location = map_location
        self.spaces: dict[str, dict[str, ast.stmt]] = {}
        self.made: dict[str, Any] = {}
        self.constants: list[Any] = []
        self.scope = Scope(self.constants, self.find)
        self.parse()
        self.constants += list(self.unpickle("constants")) if "constants.pkl" in self.reader else []

    def unpickle(self, name: str) -> Any:
        """What a pickle of the archive describes."""
        storages: dict[str, AnyStorage] = {}

        def storage(id: Any) -> AnyStorage:
            kind, key, location, count = parse_id(id)
            if key not in storages:
                array = self.reader.array(f"{name}/{key}", kind.dtype.np, count)
                made = UntypedStorage._of(Storage.from_numpy(array, kind.dtype))
                storages[key] = typed(place(made, location, self.map_location or "cpu"), kind)
            return storages[key]

        stream = io.BytesIO(self.reader.read(f"{name}.pkl"))
        return Unpickler(stream, _Names(self), storage).load()

    def parse(self) -> None:
        """Parses all code: the classes and functions of each namespace by name."""
        for record in self.reader.names():
            if not record.startswith("code/") or not record.endswith(".py"):
                continue
            found: dict[str, ast.stmt] = {}
            for part in ast.parse(self.reader.read(record).decode()).body:
                if not isinstance(part, (ast.ClassDef, ast.FunctionDef)):
                    raise Refused(f"{record} has a {type(part).__name__} where TorchScript has classes and functions")
                found[part.name] = part
            self.spaces[record[len("code/") : -len(".py")].replace("/", ".")] = found

    def find(self, full_name: str) -> Any:
        """The class or function of a full name: ``__torch__.models.net.Net``."""
        if full_name not in self.made:
            path, _, name = full_name.rpartition(".")
            part = self.spaces.get(path, {}).get(name)
            if part is None:
                if path.rpartition(".")[0] not in self.spaces:
                    raise RuntimeError(f"Unknown type name '{full_name}': the archive has no code for it")
                return self._of_class(self.find(path), name)
            if isinstance(part, ast.FunctionDef):
                self.made[full_name] = ScriptFunction(Function(part, self.scope), full_name)
            else:
                assert isinstance(part, ast.ClassDef)
                self.made[full_name] = self._class(part, full_name)
        return self.made[full_name]

    def _of_class(self, cls: Any, name: str) -> Any:
        """What code may name of a class: its methods, and how an object is made."""
        if isinstance(cls, type) and issubclass(cls, (RecursiveScriptModule, ScriptObject)):
            if name in cls._methods:
                return cls._methods[name]
            if name == "__new__" and issubclass(cls, ScriptObject):
                return lambda kind: cls._empty()
        raise Refused(f"TorchScript has no attribute {name!r} of a class")

    def _class(self, code: ast.ClassDef, full_name: str) -> type:
        base = code.bases[0].id if code.bases and isinstance(code.bases[0], ast.Name) else None
        methods: dict[str, Any] = {}
        settings: dict[str, Any] = {"_of_archive": True, "_full_name": full_name}
        types: dict[str, str] = {}
        for part in code.body:
            if isinstance(part, ast.FunctionDef):
                methods[part.name] = Function(part, self.scope)
            elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                types[part.target.id] = ast.unparse(part.annotation)
                if part.value is not None:
                    settings[part.target.id] = ast.literal_eval(part.value)
            elif isinstance(part, ast.Assign) and ast.unparse(part.targets[0]).startswith("__annotations__["):
                continue  # of a submodule whose name is a number
            elif isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
                settings[part.targets[0].id] = ast.literal_eval(part.value)
            elif not isinstance(part, (ast.Pass, ast.Expr)):
                raise Refused(f"class {code.name} has a {type(part).__name__}, which TorchScript does not have")
        if base == "NamedTuple":
            return namedtuple(code.name, list(types))  # type: ignore[misc]  # noqa: PYI024
        if base not in (None, "Module"):
            raise RuntimeError(f"class {code.name} of the archive is a {base}: flambeau reads modules, classes and named tuples")
        settings["_types"], settings["_methods"] = types, methods
        for name, method in methods.items():
            settings.setdefault(name, as_method(method))
        constants = {k: v for k, v in settings.items() if types.get(k, "").startswith("Final")}
        if base is None:
            return type(code.name, (ScriptObject,), settings)
        for name in constants:
            del settings[name]
        settings["_final"] = constants
        return type(code.name, (RecursiveScriptModule,), settings)


class _Names(Vocabulary):
    """The names in an archive's pickles: those of any file, and the classes of the archive."""

    def __init__(self, archive: _Archive) -> None:
        super().__init__(weights_only=True, size=archive.size)
        self.archive = archive
        lists = {
            f"torch.jit._pickle.{name}": _same
            for name in ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
        }
        lists["torch.jit._pickle.restore_type_tag"] = _first
        self.functions.update(lists)
        self.callable |= {_same, _first}

    def find(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            found = self.archive.find(f"{module}.{name}")
            if not isinstance(found, type):
                raise UnpicklingError(f"{module}.{name} of the archive is no class")
            return found
        return super().find(module, name)

    def new(self, cls: Any, args: Any) -> Any:
        if isinstance(cls, type) and getattr(cls, "_of_archive", False) and args == ():
            return cls._empty()  # type: ignore[attr-defined]
        return super().new(cls, args)

    def call(self, function: Any, args: Any) -> Any:
        if isinstance(function, type) and issubclass(function, tuple) and hasattr(function, "_fields"):
            return function(*args)
        return super().call(function, args)

    def build(self, obj: Any, state: Any) -> Any:
        cls = type(obj)
        if not getattr(cls, "_of_archive", False):
            return super().build(obj, state)
        self._pay(state)
        setter = cls._methods.get("__setstate__") if not isinstance(state, dict) or "__setstate__" in cls._methods else None
        if setter is not None:
            setter(obj, state)
            return obj
        for name, value in state.items():
            if type(name) is not str or name.startswith("__"):
                raise UnpicklingError("attributes of an object have names")
            _put(obj, name, value)
        return obj


def _put(obj: Any, name: str, value: Any) -> None:
    """One attribute of an object that is read."""
    if isinstance(obj, RecursiveScriptModule):
        cls = type(obj)
        if isinstance(value, RecursiveScriptModule):
            obj._modules[name] = value
        elif isinstance(value, Tensor) or value is None and name in cls.__dict__.get("__parameters__", ()):
            if name in cls.__dict__.get("__parameters__", ()):
                obj._parameters[name] = (
                    value if value is None or isinstance(value, Parameter) else Parameter(value.detach(), value.requires_grad)
                )
            elif name in cls.__dict__.get("__buffers__", ()):
                obj._buffers[name] = value
            else:
                obj.__dict__[name] = value
        else:
            obj.__dict__[name] = value
        return
    obj.__dict__[name] = value


def _same(x: Any) -> Any:
    return x


def _first(x: Any, kind: Any = None) -> Any:
    return x


def read(file: IO[bytes], map_location: MapLocation = None, extra_files: dict[str, Any] | None = None) -> Any:
    """The object of an archive, a module mostly."""
    archive = _Archive(file, map_location)
    if extra_files is not None:
        for name in extra_files:
            record = f"extra/{name}"
            if record in archive.reader:
                extra_files[name] = archive.reader.read(record)
    if "constants.pkl" not in archive.reader:
        raise RuntimeError(
            "PytorchStreamReader failed locating file constants.pkl: file not found; the file is one of torch.save, not of torch.jit.save"
        )
    found = archive.unpickle("data")
    if "flambeau.json" in archive.reader:
        return _own(found, archive.constants)
    if isinstance(found, RecursiveScriptModule):
        _share(found)
    return found


def _share(module: RecursiveScriptModule) -> None:
    """Lets the list of a recurrent layer's weights be one of its parameters."""
    for inner in module.modules():
        names = inner.__dict__.get("_flat_weights_names")
        if (
            isinstance(inner.__dict__.get("_flat_weights"), list)
            and isinstance(names, list)
            and all(n in inner._parameters for n in names)
        ):
            inner.__dict__["_flat_weights"] = [inner._parameters[n] for n in names]


def _own(tree: Any, constants: list[Any]) -> Any:
    """What flambeau has written (see :mod:`flambeau.jit.saving`)."""
    functions: dict[str, ScriptFunction] = {}
    scope = Scope(constants, lambda name: functions[name.removeprefix("__torch__.")])
    for name, text in tree["functions"].items():
        functions[name] = ScriptFunction(Function(_function_of(text), scope), name)
    if tree.get("function"):
        made: Any = ScriptFunction(Function(_function_of(tree["code"]["forward"]), scope), tree["name"], constants)
    else:
        made = _module_of(tree, constants, scope.find)
    if functions or _has_code(tree):
        made.__dict__["_written"] = tree
    return made


def _has_code(tree: Any) -> bool:
    return any(
        inner is not None and (inner["code"] or inner["layer"] or _has_code(inner)) for inner in tree.get("modules", {}).values()
    )


def _function_of(text: str) -> ast.FunctionDef:
    code = ast.parse(text).body
    if len(code) != 1 or not isinstance(code[0], ast.FunctionDef):
        raise Refused("the code of a function is something else")
    return code[0]


def _module_of(tree: Any, constants: list[Any], find: Any) -> Module:
    """A module with the state, and the code or class, that was written."""
    if tree["layer"]:
        cls = getattr(nn, tree["name"], None)
        if not (isinstance(cls, type) and issubclass(cls, Module)) or not is_builtin(object.__new__(cls)):
            raise RuntimeError(f"Unknown type name '{tree['name']}': torch.nn has no such layer")
        module = object.__new__(cls)
        Module.__init__(module)
    else:
        module = type(str(tree["name"]), (Module,), {})()
    state = module.__dict__
    for name, value in [*tree["values"].items(), *tree["tensors"].items()]:
        state[_own_name(name)] = value
    for name, op in tree["operators"].items():
        state[_own_name(name)] = find_operator(f"ops.flambeau.{op}")
    for name, value in tree["parameters"].items():
        module.register_parameter(name, value)
    for name, value in tree["buffers"].items():
        module.register_buffer(name, value, name not in tree["transient"])
    for name, inner in tree["modules"].items():
        module._modules[_own_name(name)] = None if inner is None else _module_of(inner, constants, find)
    if not tree["layer"]:
        module = made_of(module, tree["name"], tree["code"], constants, find)
    state = module.__dict__
    state["training"], state["_complete"] = bool(tree["training"]), True
    return module


def _own_name(name: Any) -> str:
    if type(name) is not str or name.startswith("__") or name in _FIELDS:
        raise UnpicklingError(f"{name!r:.40} is no name of an attribute")
    return name


_FIELDS = frozenset(n for n in vars(Module()) if n != "training")
