"""The loop IR: what one compiled kernel computes, independent of the machine it will run on.

A :class:`Loop` walks an iteration space in row-major order and evaluates ``body``, a list of instructions in
single-assignment form, at every point. It may reduce some dimensions on the way: the last ones ("rows") or the
first ones ("columns"). The result of a reduction is one value a row; later instructions may use it together with
values of every point, so that softmax or a layer norm is one loop that walks its row several times.

A loop over rows may also add up what it makes of rows that follow each other, point by point: a ``total``. The last
dimensions before those that are reduced are then a *block*, and there is one row of totals for each block. That is how
the sums of columns begin where the rows are made; what is left to do is to add few rows of totals.

Inside the body bool values are bits, and ``float16``/``bfloat16`` are storage types: they are loaded, cast to a
type that computes, and cast back. Integer arithmetic wraps. Floating-point arithmetic is IEEE, instruction by
instruction; ``min`` and ``max`` propagate NaN, ``fmin`` and ``fmax`` ignore it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flambeau.core.dtypes import BOOLEAN, COMPLEX, FLOATING, INTEGRAL, bfloat16, float16, int64
from flambeau.core.dtypes import bool as bool_
from flambeau.core.dtypes import dtype as Dtype


class Access(NamedTuple):
    """How an operand's elements are found: ``strides`` in elements, one a dimension; 0 broadcasts."""

    dtype: Dtype
    strides: tuple[int, ...]


class Instr(NamedTuple):
    """One instruction. ``args`` number earlier instructions of the body; ``const`` is what the op needs besides."""

    op: str
    dtype: Dtype
    args: tuple[int, ...] = ()
    const: bool | int | float | None = None


class Loop(NamedTuple):
    """A kernel.

    ``shape``    the iteration space, row-major, innermost last
    ``reduce``   0: a map. r > 0: the last r dimensions are reduced. r < 0: the first -r dimensions are
    ``inputs``   what instructions ``input`` read
    ``scalars``  dtypes of the numbers that are given at run time, what instructions ``scalar`` read
    ``body``     the instructions
    ``outputs``  pairs (instruction number, Access). An output whose strides along the reduced dimensions are 0
                 holds one value a row
    ``block``    how many dimensions, the last ones that are not reduced, totals are made over: the strides of their
                 outputs are 0 along these. Only rows have blocks

    The compiled kernel is ``void kernel(i8** args)``. ``args`` points to the first elements of the inputs, then of
    the outputs, then to the scalars: 8 bytes each, a double for floating types and bool, an int64 for integers.
    An output may share memory with an input of the same access, and with nothing else that the loop reads.
    """

    shape: tuple[int, ...]
    reduce: int
    inputs: tuple[Access, ...]
    scalars: tuple[Dtype, ...]
    body: tuple[Instr, ...]
    outputs: tuple[tuple[int, Access], ...]
    block: int = 0

    def __str__(self) -> str:
        return text(self)

    @property
    def reduced(self) -> range:
        """The numbers of the reduced dimensions."""
        n = len(self.shape)
        return range(n - self.reduce, n) if self.reduce >= 0 else range(-self.reduce)

    @property
    def blocked(self) -> range:
        """The numbers of the dimensions that totals are made over."""
        stop = len(self.shape) - max(self.reduce, 0)
        return range(stop - self.block, stop)

    def is_total(self, value: int) -> bool:
        return self.body[value].op == "total"


# --- the vocabulary ------------------------------------------------------------------------------------------

SOURCES = frozenset(["input", "scalar", "const", "index"])
REDUCTIONS = frozenset(["sum", "prod", "max", "min", "any", "all"])
COMPARISONS = frozenset(["eq", "ne", "lt", "le", "gt", "ge"])

COSTS = {
    "div": 4, "sqrt": 4, "rsqrt": 8, "exp": 16, "exp2": 16, "expm1": 16, "log": 16, "log2": 16, "log10": 16,
    "log1p": 20, "tanh": 20, "sigmoid": 20, "erf": 30, "normal_cdf": 24, "sin": 40, "cos": 40, "tan": 40, "pow": 100,
    "rem": 100, "floordiv": 100, "fmod": 100, "truncdiv": 100,
}  # fmt: skip
"""Rough costs of instructions, in vector instructions of the machine; 1 where not named."""

# Number of arguments, and the kinds of dtype that the op computes in.
_NUMBERS = (INTEGRAL, FLOATING)
_BITS = (BOOLEAN, INTEGRAL)
_SIGNATURES: dict[str, tuple[int, tuple[int, ...]]] = {
    "add": (2, _NUMBERS), "sub": (2, _NUMBERS), "mul": (2, _NUMBERS), "neg": (1, _NUMBERS), "abs": (1, _NUMBERS),
    "min": (2, _NUMBERS), "max": (2, _NUMBERS), "fmin": (2, (FLOATING,)), "fmax": (2, (FLOATING,)),
    "rem": (2, _NUMBERS), "floordiv": (2, _NUMBERS), "fmod": (2, _NUMBERS), "truncdiv": (2, (INTEGRAL,)),
    "and": (2, _BITS), "or": (2, _BITS), "xor": (2, _BITS), "not": (1, _BITS),
    "shl": (2, (INTEGRAL,)), "shr": (2, (INTEGRAL,)),
}  # fmt: skip
_SIGNATURES |= dict.fromkeys(["div", "copysign", "pow"], (2, (FLOATING,)))
_SIGNATURES |= {"fma": (3, (FLOATING,)), "total": (1, _NUMBERS)}
_SIGNATURES |= dict.fromkeys(
    ["sqrt", "rsqrt", "floor", "ceil", "trunc", "rint", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p",
     "sin", "cos", "tan", "tanh", "sigmoid", "erf", "normal_cdf"],
    (1, (FLOATING,)),
)  # fmt: skip


def is_reduction(instr: Instr) -> bool:
    """Whether ``instr`` reduces its argument over the row; ``min`` and ``max`` of two arguments do not."""
    return instr.op in REDUCTIONS and len(instr.args) == 1


def verify(loop: Loop) -> None:
    """Raises ``ValueError``, saying where and why, unless ``loop`` is well-formed."""
    rank = len(loop.shape)
    if rank == 0 or any(n < 0 for n in loop.shape):
        raise ValueError(f"loop: the shape must have dimensions of extent >= 0, got {loop.shape}")
    if abs(loop.reduce) > rank:
        raise ValueError(f"loop: reduce = {loop.reduce} is out of range for the shape {loop.shape}")
    if loop.block and not (loop.reduce > 0 and 0 < loop.block <= rank - loop.reduce):
        raise ValueError(f"loop: block = {loop.block} is out of range for {rank - abs(loop.reduce)} dimensions of rows")
    if any([loop.shape[d] == 0 for d in loop.blocked]):
        raise ValueError(f"loop: a block of no rows in the shape {loop.shape}")
    accesses = [(f"input {k}", a) for k, a in enumerate(loop.inputs)]
    accesses += [(f"output {k}", a) for k, (_, a) in enumerate(loop.outputs)]
    for name, access in accesses:
        if len(access.strides) != rank:
            raise ValueError(f"loop: {name} has {len(access.strides)} strides for {rank} dimensions")
        if access.dtype.kind == COMPLEX:
            raise ValueError(f"loop: {name} is {access.dtype}; loops have no complex numbers")
    varying: list[bool] = []  # whether a value differs from point to point of a row
    for number, instr in enumerate(loop.body):
        try:
            varying.append(_check(loop, number, instr, varying))
        except ValueError as e:
            raise ValueError(f"loop: %{number} = {_show(instr)}: {e}") from None
    _check_outputs(loop, varying)


def _check(loop: Loop, number: int, instr: Instr, varying: list[bool]) -> bool:
    op, dtype, args, const = instr
    if any(not 0 <= a < number for a in args):
        raise ValueError("an argument is not an earlier instruction")
    if any(loop.is_total(a) for a in args):
        raise ValueError("a total is not known before the loop is over")
    if op == "total" and not loop.block:
        raise ValueError("a total in a loop without blocks")
    given = [loop.body[a].dtype for a in args]
    if op in SOURCES:
        return _check_source(loop, instr)
    if is_reduction(instr) and loop.reduce == 0:
        raise ValueError("a reduction in a loop that reduces nothing")
    check_types(instr, given)
    return op == "total" or (not is_reduction(instr) and any(varying[a] for a in args))


def check_types(instr: Instr, given: Sequence[Dtype]) -> None:
    """Raises ``ValueError`` unless ``instr``, no source, takes arguments of dtypes ``given``."""
    op, dtype, args, const = instr
    if const is not None:
        raise ValueError("this op takes no constant")
    if is_reduction(instr):
        bits = op in ("any", "all")
        if given[0] is not dtype or (dtype.kind == BOOLEAN) != bits or dtype in (float16, bfloat16):
            raise ValueError(f"cannot reduce {given[0]} to {dtype}")
    elif op == "cast":
        _arity(args, 1)
    elif op == "select":
        _arity(args, 3)
        if given[0] is not bool_ or given[1] is not dtype or given[2] is not dtype:
            raise ValueError(f"expected ({bool_}, {dtype}, {dtype}), got {tuple(given)}")
    elif op in COMPARISONS or op == "isnan":
        _arity(args, 1 if op == "isnan" else 2)
        if dtype is not bool_ or given[-1] is not given[0] or given[0] in (float16, bfloat16):
            raise ValueError(f"cannot compare {tuple(given)} to make {dtype}")
        if op == "isnan" and given[0].kind != FLOATING:
            raise ValueError(f"isnan of {given[0]}")
    elif op in _SIGNATURES:
        count, kinds = _SIGNATURES[op]
        _arity(args, count)
        if dtype.kind not in kinds or dtype in (float16, bfloat16) or any(g is not dtype for g in given):
            raise ValueError(f"does not compute {dtype} from {tuple(given)}")
    else:
        raise ValueError("unknown op")


def _check_source(loop: Loop, instr: Instr) -> bool:
    op, dtype, args, const = instr
    _arity(args, 0)
    if op == "const":
        if not isinstance(const, bool | int | float) or (dtype.kind != FLOATING and isinstance(const, float)):
            raise ValueError(f"{const!r} is no constant of type {dtype}")
        return False
    table: tuple = {"input": loop.inputs, "scalar": loop.scalars, "index": loop.shape}[op]
    if not isinstance(const, int) or not 0 <= const < len(table):
        raise ValueError(f"there are {len(table)}, numbered from 0")
    if op == "index":
        if dtype is not int64:
            raise ValueError("an index is int64")
        return loop.reduce == 0 or const in loop.reduced
    actual = table[const].dtype if op == "input" else table[const]
    if actual is not dtype:
        raise ValueError(f"it is {actual}")
    if op == "scalar":
        if dtype in (float16, bfloat16):
            raise ValueError("scalars of 16-bit floating types are given as float32")
        return False
    return loop.reduce == 0 or any(table[const].strides[d] for d in loop.reduced)


def _check_outputs(loop: Loop, varying: list[bool]) -> None:
    if not loop.outputs:
        raise ValueError("loop: there is no output")
    for k, (value, access) in enumerate(loop.outputs):
        if not 0 <= value < len(loop.body):
            raise ValueError(f"loop: output {k} is %{value}, which does not exist")
        if loop.body[value].dtype is not access.dtype:
            raise ValueError(f"loop: output {k} stores {loop.body[value].dtype} as {access.dtype}")
        for d, (extent, stride) in enumerate(zip(loop.shape, access.strides)):
            if loop.is_total(value) and d in loop.blocked:
                if stride and extent > 1:
                    raise ValueError(f"loop: output {k} has many places for one total along dimension {d}")
            elif stride == 0 and extent > 1 and (varying[value] or d not in loop.reduced):
                raise ValueError(f"loop: output {k} writes many values to one place along dimension {d}")


def _arity(args: tuple[int, ...], count: int) -> None:
    if len(args) != count:
        raise ValueError(f"expected {count} arguments, got {len(args)}")


# --- printing ------------------------------------------------------------------------------------------------


def text(loop: Loop) -> str:
    """``loop`` as text; two loops have the same text only if they are the same, constants bit for bit."""
    block = f" block {loop.block}" if loop.block else ""
    lines = [f"loop {loop.shape} reduce {loop.reduce}{block} scalars ({', '.join(d.name for d in loop.scalars)})"]
    lines += [f"  in{k}: {a.dtype.name} {a.strides}" for k, a in enumerate(loop.inputs)]
    lines += [f"  %{n} = {_show(instr)}" for n, instr in enumerate(loop.body)]
    lines += [f"  out{k}: {a.dtype.name} {a.strides} = %{v}" for k, (v, a) in enumerate(loop.outputs)]
    return "\n".join(lines)


def _show(instr: Instr) -> str:
    operands = [f"%{a}" for a in instr.args]
    if instr.const is not None:
        operands.append(repr(instr.const))
    return f"{instr.op}.{instr.dtype.name} {', '.join(operands)}"


def numbers_of(loop: Loop) -> tuple:
    """The extents and the strides of a loop."""
    return (*loop.shape, *[s for a in loop.inputs for s in a.strides], *[s for _, a in loop.outputs for s in a.strides])
