"""Writing the meaning of an op as instructions of the loop IR.

An op's ``lower`` rule is called with a :class:`Body` and one :class:`Val` for each input, and returns the result's:
``lower=lambda b, x, y: b.add(x, y)``. Python numbers stand for constants. Under ``reduces`` the rule may also call
``b.sum(x)`` and its like; their results are values of the whole row, which broadcast against elementwise ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.engine.loops import SOURCES, Instr, check_types, is_reduction
from flambeau.engine.symbols import Symbol


class Refused(Exception):
    """A lowering that does not cover these arguments: the op runs by its kernel in NumPy."""


class Val:
    """A value in a body: its number, dtype, and whether it belongs to a row rather than to an element."""

    __slots__ = ("dtype", "number", "row")

    def __init__(self, number: int, dtype: Dtype, row: bool) -> None:
        self.number = number
        self.dtype = dtype
        self.row = row


_Unary = Callable[["Body", "Val"], "Val"]
_Binary = Callable[["Body", Any, Any], "Val"]


def _binary(name: str, result: Dtype | None = None) -> _Binary:
    def method(self: Body, x: Any, y: Any) -> Val:
        a, b = self._vals(x, y)
        return self.emit(name, result or a.dtype, (a.number, b.number))

    method.__name__ = name
    return method


def _comparison(name: str) -> _Binary:
    return _binary(name, dtypes.bool)


def _unary(name: str, row: bool | None = None) -> _Unary:
    def method(self: Body, x: Val) -> Val:
        return self.emit(name, x.dtype, (x.number,), row=row)

    method.__name__ = name
    return method


def _reduction(name: str) -> _Unary:
    return _unary(name, row=True)


class Body:
    """Instructions under construction; equal ones are made once."""

    result: Dtype  # the dtype that the op under lowering must give (float32 for half precision)
    count: int  # the number of elements that it reduces to one
    reducing: bool  # whether it reduces
    totals: bool  # whether the sum that it ends with is one over blocks of rows
    place: Callable[[int], Val]  # its place along a dim
    given: Callable[[Symbol, Dtype], int]  # the number of a scalar that is a size

    def __init__(self) -> None:
        self.instrs: list[Instr] = []
        self.rows: list[bool] = []
        self._known: dict[tuple, int] = {}

    def emit(self, op: str, dtype: Dtype, args: tuple = (), const=None, row: bool | None = None) -> Val:
        if row is None:
            row = (bool(args) and all(self.rows[a] for a in args)) or op in ("const", "scalar")
        instr = Instr(op, dtype, args, const)
        if op not in SOURCES:
            self._check(instr)
        key = (instr, row, repr(const))  # 0.0 and -0.0 are equal and differ
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = len(self.instrs)
            self.instrs.append(instr)
            self.rows.append(row)
        return Val(number, dtype, row)

    def _check(self, instr: Instr) -> None:
        """Refuses what loops cannot compute, such as the product of two bools."""
        if is_reduction(instr) and not self.reducing:
            raise Refused(f"{instr.op} of no dims")
        try:
            check_types(instr, [self.instrs[a].dtype for a in instr.args])
        except ValueError as e:
            raise Refused(f"{instr.op}: {e}") from None

    def refuse(self, what: str) -> None:
        raise Refused(what)

    def truncate(self, length: int) -> None:
        """Takes back the instructions from number ``length`` on."""
        del self.instrs[length:], self.rows[length:]
        self._known = {key: n for key, n in self._known.items() if n < length}

    def index(self, dim: int) -> Val:
        """The place along ``dim`` of the shape that the op is computed in, an int64."""
        return self.place(dim)

    def sum(self, x: Val) -> Val:
        """The sum of ``x`` over the row, or over the block of rows."""
        if self.totals:
            return self.emit("total", x.dtype, (x.number,), row=False)
        return self.emit("sum", x.dtype, (x.number,), row=True)

    def truth(self, x: Val) -> Val:
        """Whether ``x`` is not zero."""
        return x if x.dtype is dtypes.bool else self.ne(x, 0)

    def const(self, value, dtype: Dtype) -> Val:
        """A number that is part of the kernel, unless it is a size that differs between runs."""
        if value.__class__ is Symbol:
            return self.emit("scalar", dtype, (), self.given(value, dtype))
        if dtype.kind == dtypes.FLOATING:
            value = float(value)
        elif dtype is dtypes.bool:
            value = bool(value)
        else:
            value = int(value)
        return self.emit("const", dtype, (), value)

    def _vals(self, *xs) -> list[Val]:
        like = next(x for x in xs if isinstance(x, Val))
        return [x if isinstance(x, Val) else self.const(x, like.dtype) for x in xs]

    def cast(self, x, dtype: Dtype) -> Val:
        """``x`` converted to ``dtype``."""
        if not isinstance(x, Val):
            return self.const(x, dtype)
        return x if x.dtype is dtype else self.emit("cast", dtype, (x.number,))

    def select(self, condition: Val, a, b) -> Val:
        """``a`` where ``condition`` holds, else ``b``."""
        a, b = self._vals(a, b)
        if condition.dtype is not dtypes.bool:
            condition = self.ne(condition, 0)
        return self.emit("select", a.dtype, (condition.number, a.number, b.number))

    def fma(self, a, b, c) -> Val:
        """``a * b + c``, rounded once."""
        a, b, c = self._vals(a, b, c)
        return self.emit("fma", a.dtype, (a.number, b.number, c.number))

    def isnan(self, x: Val) -> Val:
        return self.ne(x, x)

    # --- the operations of the loop IR ---------------------------------------------------------------------

    prod, amax, amin = _reduction("prod"), _reduction("max"), _reduction("min")
    any, all = _reduction("any"), _reduction("all")
    add, sub, mul, div = _binary("add"), _binary("sub"), _binary("mul"), _binary("div")
    min, max, fmin, fmax = _binary("min"), _binary("max"), _binary("fmin"), _binary("fmax")
    pow, rem, fmod = _binary("pow"), _binary("rem"), _binary("fmod")
    floordiv, truncdiv, copysign = _binary("floordiv"), _binary("truncdiv"), _binary("copysign")
    and_, or_, xor = _binary("and"), _binary("or"), _binary("xor")
    shl, shr = _binary("shl"), _binary("shr")
    eq, ne = _comparison("eq"), _comparison("ne")
    lt, le, gt, ge = _comparison("lt"), _comparison("le"), _comparison("gt"), _comparison("ge")
    neg, abs, not_ = _unary("neg"), _unary("abs"), _unary("not")
    sqrt, rsqrt = _unary("sqrt"), _unary("rsqrt")
    floor, ceil, trunc, rint = _unary("floor"), _unary("ceil"), _unary("trunc"), _unary("rint")
    exp, exp2, expm1 = _unary("exp"), _unary("exp2"), _unary("expm1")
    log, log2, log10, log1p = _unary("log"), _unary("log2"), _unary("log10"), _unary("log1p")
    sin, cos, tan = _unary("sin"), _unary("cos"), _unary("tan")
    tanh, sigmoid = _unary("tanh"), _unary("sigmoid")
    erf, normal_cdf = _unary("erf"), _unary("normal_cdf")
