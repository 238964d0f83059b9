"""Code of scripted modules, as archives have it: the source of their methods, with names that a reader can look up.

The source of a method, and of the functions that it calls, is parsed; names of modules and functions become those of operators
(``F.relu`` is ``ops.flambeau.nn.functional.relu``), numbers and strings of the program become constants. What
:mod:`flambeau.jit.language` does not have is refused with its line. Layers of ``torch.nn`` are written by name, without code.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import textwrap
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import flambeau
from flambeau.core.dtypes import dtype
from flambeau.core.memory_format import layout, memory_format
from flambeau.jit.language import Function, Refused, Scope
from flambeau.jit.operators import PYTHON
from flambeau.nn.modules.module import Module

__all__ = ["Script", "is_builtin", "methods_of"]

_NOTHING = object()


def is_builtin(module: Module) -> bool:
    """Whether a module is a layer of ``torch.nn``, which a reader has too."""
    cls = type(module)
    return cls.__module__.startswith(("flambeau.nn", "torch.nn")) and getattr(flambeau.nn, cls.__name__, None) is cls


class Script:
    """The code of one program: functions by name, beside the methods of its modules."""

    def __init__(self) -> None:
        self.functions: dict[str, str] = {}
        self._names: dict[Callable, str] = {}

    def function(self, f: FunctionType) -> str:
        """The name of a function of the user's, whose code is noted."""
        if f not in self._names:
            name = f.__name__
            while name in self.functions:
                name += "_"
            self._names[f] = name
            self.functions[name] = ""
            self.functions[name] = self.code(f, name)
        return self._names[f]

    def code(self, f: Any, name: str) -> str:
        """The source of a function with names that a reader knows."""
        try:
            source = textwrap.dedent(inspect.getsource(f))
            tree = ast.parse(source).body[0]
        except (OSError, TypeError, SyntaxError) as error:
            raise RuntimeError(f"torch.jit.save: the source of {name} cannot be found ({error})") from None
        if not isinstance(tree, ast.FunctionDef):
            raise RuntimeError(f"torch.jit.save: {name} is no function that has been defined by 'def'")
        tree.decorator_list, tree.name, tree.returns = [], name, None
        for a in (*tree.args.args, *tree.args.kwonlyargs):
            a.annotation = None
        try:
            text = ast.unparse(ast.fix_missing_locations(_Names(self, f, tree).visit(tree)))
            code = ast.parse(text).body[0]
            assert isinstance(code, ast.FunctionDef)
            Function(code, Scope([], lambda name: None))
        except Refused as refusal:
            raise RuntimeError(f"torch.jit.save: {name} cannot be written: {refusal}") from None
        return text


class _Names(ast.NodeTransformer):
    """Replaces the names that a function does not define itself."""

    def __init__(self, script: Script, f: Any, tree: ast.FunctionDef) -> None:
        self.script = script
        closure = inspect.getclosurevars(f)
        self.known = {**vars(builtins), **f.__globals__, **closure.nonlocals}
        self.local = {a.arg for a in (*tree.args.args, *tree.args.kwonlyargs)}
        self.local |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}

    def visit_Call(self, e: ast.Call) -> ast.AST:
        name = e.func.id if isinstance(e.func, ast.Name) else e.func.attr if isinstance(e.func, ast.Attribute) else ""
        if name == "annotate" and len(e.args) == 2:
            return self.visit(e.args[1])  # type: ignore[no-any-return]
        if name == "isinstance" and isinstance(e.func, ast.Name) and len(e.args) == 2:
            return ast.Call(e.func, [self.visit(e.args[0]), e.args[1]], [])
        if name in ("is_scripting", "is_tracing"):
            return ast.Constant(False)
        return self.generic_visit(e)

    def visit_AnnAssign(self, s: ast.AnnAssign) -> ast.AST:
        if s.value is None:
            return ast.Pass()
        return ast.Assign([s.target], self.visit(s.value))

    def visit_Name(self, e: ast.Name) -> ast.AST:
        if e.id in self.local or not isinstance(e.ctx, ast.Load):
            return e
        value = self.known.get(e.id, _NOTHING)
        return self.constant(value, e.id, e.lineno)

    def visit_Attribute(self, e: ast.Attribute) -> ast.AST:
        value = self.static(e)
        if value is _NOTHING:
            return self.generic_visit(e)
        return self.constant(value, ast.unparse(e), e.lineno)

    def static(self, e: ast.expr) -> Any:
        """What an expression of names of modules and their attributes is."""
        if isinstance(e, ast.Name):
            value = _NOTHING if e.id in self.local else self.known.get(e.id, _NOTHING)
            return (
                value
                if isinstance(value, ModuleType) or value is flambeau or not isinstance(value, (int, float, str))
                else _NOTHING
            )
        if isinstance(e, ast.Attribute):
            holder = self.static(e.value)
            if isinstance(holder, ModuleType) or isinstance(holder, type):
                return getattr(holder, e.attr, _NOTHING)
        return _NOTHING

    def constant(self, value: Any, text: str, line: int) -> ast.AST:
        """The code for a value of the program."""
        op = getattr(value, "op", None)
        if op is not None and hasattr(op, "name"):
            suffix = "_" if getattr(value, "__name__", "").endswith("_") and not op.name.endswith("_") else ""
            return ast.parse(f"ops.flambeau.{op.name}{suffix}", mode="eval").body
        if isinstance(value, dtype):
            return ast.parse(f"ops.flambeau.dtype({value.name!r})", mode="eval").body
        if isinstance(value, (memory_format, layout)):
            return ast.parse(f"ops.flambeau.format({value.name!r})", mode="eval").body
        if isinstance(value, float) and not math.isfinite(value):
            return ast.parse(str(value).replace("-inf", "(-inf)"), mode="eval").body
        if isinstance(value, (bool, int, float, str, type(None), type(...))):
            return ast.Constant(value)
        if type(value) in (tuple, list) and all(isinstance(v, (bool, int, float, str, type(None))) for v in value):
            return ast.parse(repr(value), mode="eval").body
        for name, known in PYTHON.items():
            if value is known:
                return ast.parse(f"ops.python.{name}", mode="eval").body
        if isinstance(value, FunctionType):
            return ast.parse(f"__torch__.{self.script.function(value)}", mode="eval").body
        raise Refused(f"it uses {text!r} (line {line}), which is no operator, no function with a source and no plain value")


def methods_of(module: Module, script: Script) -> dict[str, str]:
    """The code of ``forward``, of exported methods, and of the methods that these call."""
    cls = type(module)
    found: dict[str, str] = {}
    wanted = [
        "forward",
        *[name for name in dir(cls) if getattr(getattr(cls, name, None), "_torchscript_modifier", None) == "export"],
    ]
    while wanted:
        name = wanted.pop()
        function = getattr(cls, name, None)
        if name in found or not isinstance(function, FunctionType) or function.__module__.startswith("flambeau"):
            continue
        found[name] = script.code(function, name)
        called = {
            n.attr
            for n in ast.walk(ast.parse(found[name]))
            if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == _self_of(function)
        }
        wanted += sorted(called)
    return found


def _self_of(function: FunctionType) -> str:
    return function.__code__.co_varnames[0] if function.__code__.co_argcount else "self"
