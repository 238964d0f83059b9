"""The restricted Python of TorchScript archives, read statement by statement.

Code in an archive is a sequence of assignments, loops and branches over calls of operators. It is parsed, each statement that the
language has becomes a Python closure, and anything else is refused when the file is read: no code of the file is ever compiled or
run. What it may call are the operators of :mod:`flambeau.jit.operators`, and functions and methods of the same archive.

Source: https://docs.pytorch.org/docs/stable/jit_language_reference.html
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from flambeau.core.size import Size
from flambeau.jit.operators import PYTHON, find_operator, is_method_of_tensors
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = ["Function", "Refused", "Scope"]


class Refused(RuntimeError):
    """Code that TorchScript does not have."""


class _Return(Exception):
    """Leaves a function."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


def _goes_on(body: list[Callable[[Env], None]], env: Env) -> bool:
    """Runs the body of a loop once; whether the loop goes on."""
    try:
        for statement in body:
            statement(env)
    except _Continue:
        pass
    except _Break:
        return False
    return True


_BINARY: dict[type, Callable] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Pow: operator.pow, ast.MatMult: operator.matmul, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}  # fmt: skip
_UNARY: dict[type, Callable] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_, ast.Invert: operator.invert}
_COMPARE: dict[type, Callable] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Is: operator.is_, ast.IsNot: operator.is_not, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_BUILTINS: dict[str, Any] = {
    "int": int, "float": float, "bool": bool, "complex": complex, "str": str, "range": range, "inf": math.inf, "nan": math.nan,
}  # fmt: skip

Env = dict[str, Any]


class Scope:
    """What code finds by name: constants of the archive, and what else is in it by its full name."""

    def __init__(self, constants: list[Any], find: Callable[[str], Any]) -> None:
        self.constants, self.find = constants, find


class Function:
    """A function of an archive: called as any other.

    >>> from flambeau.jit.language import Function, Scope
    >>> import ast
    >>> code = ast.parse("def f(x: int, n: int=2) -> int:\\n  return torch.mul(x, n)").body[0]
    >>> Function(code, Scope([], None))(3)
    6
    """

    def __init__(self, code: ast.FunctionDef, scope: Scope) -> None:
        a = code.args
        if a.vararg or a.kwarg or a.posonlyargs or code.decorator_list:
            raise Refused(f"{code.name}: arguments and decorators that TorchScript does not have")
        self.__name__ = code.name
        self._code, self._scope = code, scope
        self._names = [x.arg for x in a.args]
        self._only_names = [x.arg for x in a.kwonlyargs]
        compiler = _Compiler(scope)
        missing: list[Any] = [None] * (len(self._names) - len(a.defaults))
        self._defaults = [*missing, *[compiler.expression(d) for d in a.defaults]]
        self._required = len(missing)
        self._only_defaults = [None if d is None else compiler.expression(d) for d in a.kw_defaults]
        self._body = compiler.block(code.body)

    def bind(self, args: tuple, kwargs: dict) -> Env:
        """The values of the arguments of a call."""
        if len(args) > len(self._names):
            raise RuntimeError(
                f"{self.__name__}() expected at most {len(self._names)} argument(s) but received {len(args)} argument(s)"
            )
        env = dict(zip(self._names, args))
        for name, value in kwargs.items():
            if name in env or name not in self._names and name not in self._only_names:
                raise RuntimeError(f"Unknown keyword argument '{name}' for operator '{self.__name__}'")
            env[name] = value
        for i, name in enumerate(self._names):
            if name not in env:
                if i < self._required:
                    raise RuntimeError(
                        f"{self.__name__}() is missing value for argument '{name}'. Declaration: {self.__name__}({', '.join(self._names)})"
                    )
                env[name] = self._defaults[i](env)
        for name, default in zip(self._only_names, self._only_defaults, strict=True):
            if name not in env:
                if default is None:
                    raise RuntimeError(f"{self.__name__}() is missing value for argument '{name}'")
                env[name] = default(env)
        return env

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        env = self.bind(args, kwargs)
        try:
            for statement in self._body:
                statement(env)
        except _Return as result:
            return result.value
        return None

    @property
    def source(self) -> str:
        """The text of the function."""
        return ast.unparse(self._code)


class _Compiler:
    """Makes closures of code; what the language does not have raises :class:`Refused`."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    # --- statements -------------------------------------------------------------------------------------------

    def block(self, body: list[ast.stmt]) -> list[Callable[[Env], None]]:
        return [self.statement(s) for s in body]

    def statement(self, s: ast.stmt) -> Callable[[Env], None]:
        method = getattr(self, f"_{type(s).__name__}", None)
        if method is None:
            raise Refused(f"TorchScript has no {type(s).__name__} statements (line {s.lineno})")
        return method(s)  # type: ignore[no-any-return]

    def _Pass(self, s: ast.Pass) -> Callable[[Env], None]:
        return lambda env: None

    def _Break(self, s: ast.Break) -> Callable[[Env], None]:
        def leave(env: Env) -> None:
            raise _Break

        return leave

    def _Continue(self, s: ast.Continue) -> Callable[[Env], None]:
        def go_on(env: Env) -> None:
            raise _Continue

        return go_on

    def _Expr(self, s: ast.Expr) -> Callable[[Env], None]:
        return self.expression(s.value)

    def _Return(self, s: ast.Return) -> Callable[[Env], None]:
        value = self.expression(s.value) if s.value is not None else lambda env: None

        def leave(env: Env) -> None:
            raise _Return(value(env))

        return leave

    def _Assign(self, s: ast.Assign) -> Callable[[Env], None]:
        value = self.expression(s.value)
        targets = [self.target(t) for t in s.targets]

        def assign(env: Env) -> None:
            result = value(env)
            for put in targets:
                put(env, result)

        return assign

    def _AnnAssign(self, s: ast.AnnAssign) -> Callable[[Env], None]:
        if s.value is None:
            return lambda env: None
        value, put = self.expression(s.value), self.target(s.target)
        return lambda env: put(env, value(env))

    def _AugAssign(self, s: ast.AugAssign) -> Callable[[Env], None]:
        load = self.expression(_as_load(s.target))
        value, put, op = self.expression(s.value), self.target(s.target), _BINARY[type(s.op)]
        return lambda env: put(env, op(load(env), value(env)))

    def _Assert(self, s: ast.Assert) -> Callable[[Env], None]:
        test = self.expression(s.test)
        message = self.expression(s.msg) if s.msg is not None else lambda env: ""

        def check(env: Env) -> None:
            if not test(env):
                raise AssertionError(message(env))

        return check

    def _If(self, s: ast.If) -> Callable[[Env], None]:
        test, yes, no = self.expression(s.test), self.block(s.body), self.block(s.orelse)

        def branch(env: Env) -> None:
            for statement in yes if test(env) else no:
                statement(env)

        return branch

    def _While(self, s: ast.While) -> Callable[[Env], None]:
        test, body = self.expression(s.test), self.block(s.body)

        def loop(env: Env) -> None:
            while test(env) and _goes_on(body, env):
                pass

        return loop

    def _For(self, s: ast.For) -> Callable[[Env], None]:
        values, put, body = self.expression(s.iter), self.target(s.target), self.block(s.body)

        def loop(env: Env) -> None:
            for value in values(env):
                put(env, value)
                if not _goes_on(body, env):
                    break

        return loop

    def _Raise(self, s: ast.Raise) -> Callable[[Env], None]:
        if s.exc is None:
            raise Refused(f"TorchScript has no 'raise' without an exception (line {s.lineno})")
        error = self.expression(s.exc)

        def fail(env: Env) -> None:
            made = error(env)
            if not (isinstance(made, Exception) or isinstance(made, type) and issubclass(made, Exception)):
                raise Refused(f"a {type(made).__name__} is no exception")
            raise made

        return fail

    def _With(self, s: ast.With) -> Callable[[Env], None]:
        items = [
            (self.expression(i.context_expr), self.target(i.optional_vars) if i.optional_vars is not None else None)
            for i in s.items
        ]
        body = self.block(s.body)

        def run(env: Env) -> None:
            entered = []
            try:
                for make, put in items:
                    context = make(env)
                    own = getattr(type(context), "_of_archive", False) and "__enter__" in type(context)._methods
                    if not own and type(context) not in (PYTHON["no_grad"], PYTHON["enable_grad"]):
                        raise Refused(f"a {type(context).__name__} is no context manager of TorchScript")
                    value = context.__enter__()
                    entered.append(context)
                    if put is not None:
                        put(env, value)
                for statement in body:
                    statement(env)
            finally:
                for context in reversed(entered):
                    context.__exit__(None, None, None)

        return run

    # --- what is assigned to ----------------------------------------------------------------------------------

    def target(self, t: ast.expr) -> Callable[[Env, Any], None]:
        if isinstance(t, ast.Name):
            name = t.id
            return lambda env, value: env.__setitem__(name, value)
        if isinstance(t, (ast.Tuple, ast.List)):
            parts = [self.target(x) for x in t.elts]

            def unpack(env: Env, value: Any) -> None:
                values = list(value)
                if len(values) != len(parts):
                    raise RuntimeError(f"Provided tuple has {len(values)} elements, {len(parts)} were expected")
                for put, v in zip(parts, values, strict=True):
                    put(env, v)

            return unpack
        if isinstance(t, ast.Attribute):
            holder, name = self.expression(t.value), t.attr
            return lambda env, value: set_attribute(holder(env), name, value)
        if isinstance(t, ast.Subscript):
            holder, index = self.expression(t.value), self.expression(t.slice)
            return lambda env, value: operator.setitem(holder(env), index(env), value)
        raise Refused(f"TorchScript does not assign to a {type(t).__name__} (line {t.lineno})")

    # --- expressions ------------------------------------------------------------------------------------------

    def expression(self, e: ast.expr) -> Callable[[Env], Any]:
        method = getattr(self, f"_{type(e).__name__}", None)
        if method is None or not isinstance(e, ast.expr):
            raise Refused(f"TorchScript has no {type(e).__name__} expressions (line {e.lineno})")
        return method(e)  # type: ignore[no-any-return]

    def _Constant(self, e: ast.Constant) -> Callable[[Env], Any]:
        value = e.value
        if not isinstance(value, (int, float, complex, str, bool, type(None), type(...))):
            raise Refused(f"a constant of type {type(value).__name__}")
        return lambda env: value

    def _Name(self, e: ast.Name) -> Callable[[Env], Any]:
        name = e.id
        if name in _BUILTINS:
            fallback = _BUILTINS[name]
            return lambda env: env.get(name, fallback)

        def load(env: Env) -> Any:
            try:
                return env[name]
            except KeyError:
                raise RuntimeError(f"undefined value {name}") from None

        return load

    def _sequence(self, e: Any, make: Callable) -> Callable[[Env], Any]:
        parts = [self.expression(x) for x in e.elts]
        return lambda env: make([p(env) for p in parts])

    def _Tuple(self, e: ast.Tuple) -> Callable[[Env], Any]:
        return self._sequence(e, tuple)

    def _List(self, e: ast.List) -> Callable[[Env], Any]:
        return self._sequence(e, list)

    def _Dict(self, e: ast.Dict) -> Callable[[Env], Any]:
        if None in e.keys:
            raise Refused("TorchScript has no ** in dicts")
        keys, values = [self.expression(k) for k in e.keys if k is not None], [self.expression(v) for v in e.values]
        return lambda env: {k(env): v(env) for k, v in zip(keys, values, strict=True)}

    def _Subscript(self, e: ast.Subscript) -> Callable[[Env], Any]:
        holder, index = self.expression(e.value), self.expression(e.slice)
        return lambda env: holder(env)[index(env)]

    def _Slice(self, e: ast.Slice) -> Callable[[Env], Any]:
        parts = [self.expression(x) if x is not None else lambda env: None for x in (e.lower, e.upper, e.step)]
        return lambda env: slice(*[p(env) for p in parts])

    def _BinOp(self, e: ast.BinOp) -> Callable[[Env], Any]:
        a, b, op = self.expression(e.left), self.expression(e.right), _BINARY.get(type(e.op))
        if op is None:
            raise Refused(f"TorchScript has no operator {type(e.op).__name__}")
        return lambda env: op(a(env), b(env))

    def _UnaryOp(self, e: ast.UnaryOp) -> Callable[[Env], Any]:
        a, op = self.expression(e.operand), _UNARY[type(e.op)]
        return lambda env: op(a(env))

    def _BoolOp(self, e: ast.BoolOp) -> Callable[[Env], Any]:
        parts, stops = [self.expression(v) for v in e.values], isinstance(e.op, ast.Or)

        def decide(env: Env) -> Any:
            value = None
            for part in parts:
                value = part(env)
                if bool(value) is stops:
                    break
            return value

        return decide

    def _Compare(self, e: ast.Compare) -> Callable[[Env], Any]:
        first = self.expression(e.left)
        rest = [(_COMPARE[type(op)], self.expression(x)) for op, x in zip(e.ops, e.comparators, strict=True)]
        if len(rest) == 1:
            op, second = rest[0]
            return lambda env: op(first(env), second(env))

        def chain(env: Env) -> Any:
            left, result = first(env), None
            for op, other in rest:
                right = other(env)
                result = op(left, right)
                if not result:
                    break
                left = right
            return result

        return chain

    def _ListComp(self, e: ast.ListComp) -> Callable[[Env], Any]:
        if len(e.generators) != 1 or e.generators[0].is_async:
            raise Refused(f"TorchScript has lists of one 'for' (line {e.lineno})")
        g = e.generators[0]
        element, put, values = self.expression(e.elt), self.target(g.target), self.expression(g.iter)
        tests = [self.expression(t) for t in g.ifs]

        def make(env: Env) -> list:
            inner, out = dict(env), []
            for value in values(env):
                put(inner, value)
                if all([t(inner) for t in tests]):
                    out.append(element(inner))
            return out

        return make

    def _JoinedStr(self, e: ast.JoinedStr) -> Callable[[Env], Any]:
        parts = [self.expression(v) for v in e.values]
        return lambda env: "".join([str(p(env)) for p in parts])

    def _FormattedValue(self, e: ast.FormattedValue) -> Callable[[Env], Any]:
        value = self.expression(e.value)
        spec = self.expression(e.format_spec) if e.format_spec is not None else lambda env: ""
        ways: dict[int, Callable[[Any], Any]] = {-1: lambda x: x, 115: str, 114: repr, 97: ascii}
        shown = ways[e.conversion]
        return lambda env: format(shown(value(env)), spec(env))

    def _IfExp(self, e: ast.IfExp) -> Callable[[Env], Any]:
        test, yes, no = self.expression(e.test), self.expression(e.body), self.expression(e.orelse)
        return lambda env: yes(env) if test(env) else no(env)

    def _Attribute(self, e: ast.Attribute) -> Callable[[Env], Any]:
        path = _path(e)
        if path is not None:
            root = path.split(".", 1)[0]
            if root == "CONSTANTS":
                value = self._constant(path)
                return lambda env: value
            if root == "__torch__":
                find = self.scope.find
                return lambda env: find(path)
            if root in ("torch", "ops"):
                return self._operator(path)
        holder, name = self.expression(e.value), e.attr
        return lambda env: get_attribute(holder(env), name)

    def _constant(self, path: str) -> Any:
        name = path.partition(".")[2]
        if name[:1] != "c" or not name[1:].isdigit() or int(name[1:]) >= len(self.scope.constants):
            raise Refused(f"no constant {path}")
        return self.scope.constants[int(name[1:])]

    def _operator(self, path: str) -> Callable[[Env], Any]:
        found: list[Any] = []

        def load(env: Env) -> Any:
            if not found:  # an operator that is not there matters where it is called
                found.append(find_operator(path))
            return found[0]

        return load

    def _Call(self, e: ast.Call) -> Callable[[Env], Any]:
        if any(k.arg is None for k in e.keywords):
            raise Refused("TorchScript has no ** in calls")
        name = e.func.id if isinstance(e.func, ast.Name) else None
        if name in ("annotate", "unchecked_cast"):
            return self.expression(e.args[1])
        if name == "uninitialized":
            return lambda env: None
        if name == "isinstance":
            value, kinds = self.expression(e.args[0]), _kinds(e.args[1])
            return lambda env: any(check(value(env)) for check in kinds)
        if any(isinstance(a, ast.Starred) for a in e.args):
            return self._spread(e)
        args = [self.expression(a) for a in e.args]
        kwargs = [(str(k.arg), self.expression(k.value)) for k in e.keywords]
        if name == "getattr" and len(args) == 2:
            return lambda env: get_attribute(args[0](env), args[1](env))
        called = self.expression(e.func)
        if not kwargs:
            return lambda env: called(env)(*[a(env) for a in args])
        return lambda env: called(env)(*[a(env) for a in args], **{k: v(env) for k, v in kwargs})

    def _spread(self, e: ast.Call) -> Callable[[Env], Any]:
        """A call with ``*`` among its arguments."""
        called = self.expression(e.func)
        parts = [(isinstance(a, ast.Starred), self.expression(a.value if isinstance(a, ast.Starred) else a)) for a in e.args]
        kwargs = [(str(k.arg), self.expression(k.value)) for k in e.keywords]

        def call(env: Env) -> Any:
            args: list[Any] = []
            for spread, part in parts:
                value = part(env)
                args += list(value) if spread else [value]
            return called(env)(*args, **{k: v(env) for k, v in kwargs})

        return call


def _as_load(t: ast.expr) -> ast.expr:
    """What is assigned to, as an expression."""
    copied = ast.parse(ast.unparse(t), mode="eval").body
    return ast.copy_location(copied, t)


def _path(e: ast.expr) -> str | None:
    """``torch.nn.functional`` for the expression with this text."""
    parts = []
    while isinstance(e, ast.Attribute):
        parts.append(e.attr)
        e = e.value
    return ".".join([e.id, *reversed(parts)]) if isinstance(e, ast.Name) else None


def _kinds(e: ast.expr) -> list[Callable[[Any], bool]]:
    """Tests for the types that ``isinstance`` is asked for."""
    from flambeau.tensor import Tensor

    if isinstance(e, (ast.List, ast.Tuple)):
        return [test for x in e.elts for test in _kinds(x)]
    text = ast.unparse(e).partition("[")[0].rpartition(".")[2]
    types: dict[str, Any] = {
        "Tensor": Tensor, "int": int, "float": float, "bool": bool, "str": str, "List": list, "list": list, "Dict": dict, "dict": dict,
        "Tuple": tuple, "tuple": tuple, "NoneType": type(None), "complex": complex,
    }  # fmt: skip
    if text in types:
        kind = types[text]
        return [lambda x: isinstance(x, kind) and not (kind is int and isinstance(x, bool))]
    return [lambda x: type(x).__name__ == text]


def get_attribute(holder: Any, name: str) -> Any:
    """An attribute of an object of the archive; of tensors and plain values those that TorchScript has."""
    kind = type(holder)
    if getattr(kind, "_of_archive", False):
        if name in kind._methods:
            return getattr(holder, name)
        state = vars(holder)
        for part in (state.get("_parameters"), state.get("_buffers"), state.get("_modules"), state):
            if part is not None and name in part and name not in _MACHINERY:
                return part[name]
        raise RuntimeError(f"Module '{kind.__name__}' has no attribute '{name}'")
    if isinstance(holder, Tensor) and is_method_of_tensors(name) or name in _METHODS.get(kind, ()):
        return getattr(holder, name)
    if isinstance(holder, Module):  # a layer of torch.nn
        state = vars(holder)
        for part in (state["_parameters"], state["_buffers"], state["_modules"], state):
            if name in part and name not in _MACHINERY:
                return part[name]
    if isinstance(holder, tuple) and name in getattr(holder, "_fields", ()):
        return getattr(holder, name)
    raise Refused(f"TorchScript has no attribute {name!r} of a {type(holder).__name__}")


def set_attribute(holder: Any, name: str, value: Any) -> None:
    """Sets an attribute of an object of the archive."""
    kind = type(holder)
    if not getattr(kind, "_of_archive", False) or name not in kind._types or name in _MACHINERY:
        raise Refused(f"TorchScript does not set attribute {name!r} of a {kind.__name__}")
    setattr(holder, name, value)


_METHODS: dict[type, frozenset[str]] = {
    list: frozenset("append extend insert pop clear reverse sort copy index count remove".split()),
    dict: frozenset("keys values items get pop update setdefault clear copy".split()),
    str: frozenset("format join split strip lower upper startswith endswith replace find".split()) - {"format"},
    Size: frozenset(["numel"]),
}
"""What code may call of plain values."""
_MACHINERY = frozenset(vars(Module())) - {"training"}
"""What every module has to be one."""
