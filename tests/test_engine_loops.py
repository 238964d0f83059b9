"""Loops compiled to machine code against a NumPy evaluation of the same loop, on every level of CPU."""

from __future__ import annotations

import ctypes
import zlib
from functools import cache

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from flambeau.core import dtypes as D
from flambeau.engine.cpu import compiler
from flambeau.engine.cpu.codegen import loop_ir, loop_kernel
from flambeau.engine.loops import REDUCTIONS, Access, Instr, Loop, is_reduction, verify

MACHINES = ["", "avx512", "avx2", "generic"]

f32, f64, i32, i64, u8, boolean = D.float32, D.float64, D.int32, D.int64, D.uint8, D.bool


@cache
def _session(name: str) -> compiler.Session:
    return compiler.Session(compiler.machine(name))


def session_of(name: str) -> compiler.Session:
    """A session for the machine called ``name``, one for all tests; the test is skipped where this CPU is not such a one."""
    try:
        return _session(name)
    except ValueError as e:
        pytest.skip(str(e))


@pytest.fixture(params=MACHINES, ids=lambda m: m or "host")
def session(request):
    return session_of(request.param)


class Body:
    """Writes a loop's body instruction by instruction."""

    def __init__(self) -> None:
        self.instrs: list[Instr] = []

    def __call__(self, op, *args, dtype=None, const=None) -> int:
        if dtype is None:
            dtype = self.instrs[args[-1]].dtype
        self.instrs.append(Instr(op, dtype, args, const))
        return len(self.instrs) - 1


def contiguous(shape):
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def view(array, shape, access):
    """The elements of ``array`` that ``access`` walks over ``shape``; negative strides start at the end."""
    start = sum(-s * (n - 1) for s, n in zip(access.strides, shape) if s < 0)
    size = array.itemsize
    return np.ndarray(shape, array.dtype, array, start * size, [s * size for s in access.strides])


def room(shape, access):
    return 1 + sum(abs(s) * (n - 1) for s, n in zip(access.strides, shape) if n)


def run(loop, arrays, scalars=(), session=None):
    """The arrays of the outputs, filled with a pattern where nothing is written."""
    outputs = []
    for _, access in loop.outputs:
        out = np.zeros(room(loop.shape, access) + 8, access.dtype.np)
        out.view(np.uint8)[...] = 0xA5 if access.dtype is not boolean else 1
        outputs.append(out)
    call(loop, arrays, outputs, scalars, session)
    for out, (_, access) in zip(outputs, loop.outputs):
        assert (out[-8:].view(np.uint8) == (0xA5 if access.dtype is not boolean else 1)).all(), "wrote past the end"
    return outputs


def call(loop, inputs, outputs, scalars, session):
    words = np.zeros(max(1, len(scalars)), np.int64)
    for k, (number, dtype) in enumerate(zip(scalars, loop.scalars)):
        words[k : k + 1].view(np.float64 if dtype.is_floating_point or dtype is boolean else np.int64)[0] = number
    block = (ctypes.c_void_p * (len(inputs) + len(outputs) + 1))()
    accesses = [*loop.inputs, *(a for _, a in loop.outputs)]
    for k, (array, access) in enumerate(zip([*inputs, *outputs], accesses)):
        start = sum(-s * (n - 1) for s, n in zip(access.strides, loop.shape) if s < 0)
        block[k] = array.ctypes.data + start * array.itemsize
    block[len(inputs) + len(outputs)] = words.ctypes.data
    kernel = loop_kernel(loop, session)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(kernel)(ctypes.addressof(block))


# --- the meaning of a loop, in NumPy -------------------------------------------------------------------------

BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "min": np.minimum, "max": np.maximum,
    "fmin": np.fmin, "fmax": np.fmax, "rem": np.remainder, "floordiv": np.floor_divide, "fmod": np.fmod,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "shl": np.left_shift, "shr": np.right_shift,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "copysign": np.copysign,
}  # fmt: skip
UNARY = {
    "neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "rint": np.rint, "isnan": np.isnan, "not": np.invert, "exp": np.exp, "log": np.log, "tanh": np.tanh,
}  # fmt: skip
REDUCE = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "any": np.any, "all": np.all}


def expected(loop, arrays, scalars=()):
    """The value of every output over the whole shape (reduced dimensions keep extent 1)."""
    values = []
    axes = tuple(loop.reduced)
    for instr in loop.body:
        args = [values[a] for a in instr.args]
        np_type = instr.dtype.np
        with np.errstate(all="ignore"):
            if instr.op == "input":
                value = view(arrays[instr.const], loop.shape, loop.inputs[instr.const])
            elif instr.op in ("const", "scalar"):
                number = instr.const if instr.op == "const" else scalars[instr.const]
                value = np.full((1,) * len(loop.shape), number).astype(np_type)
            elif instr.op == "index":
                shape = [-1 if d == instr.const else 1 for d in range(len(loop.shape))]
                value = np.arange(loop.shape[instr.const]).reshape(shape)
            elif instr.op == "cast":
                source = args[0]
                if np_type == np.float16 and source.dtype == np.float64:  # by way of float32
                    source = source.astype(np.float32)
                value = source.astype(np_type)
            elif instr.op == "select":
                value = np.where(*args)
            elif instr.op == "total":
                wide = np.float64 if instr.dtype.is_floating_point else np_type
                every = np.broadcast_to(args[0], loop.shape).astype(wide)
                value = every.sum(axis=tuple(loop.blocked), keepdims=True, dtype=wide)
            elif is_reduction(instr):
                wide = np.float64 if instr.dtype.is_floating_point and instr.op in ("sum", "prod") else np_type
                value = REDUCE[instr.op](np.broadcast_to(args[0], loop.shape).astype(wide), axis=axes, keepdims=True)
            elif instr.op == "sigmoid":
                value = 1 / (1 + np.exp(-args[0].astype(np.float64)))
            elif instr.op == "fma":
                value = args[0].astype(np.float64) * args[1] + args[2]
            else:
                value = (BINARY | UNARY)[instr.op](*args)
        values.append(value.astype(np_type))
    return [np.broadcast_to(values[v], loop.shape) for v, _ in loop.outputs]


def check(loop, arrays, scalars=(), session=None, rtol=0.0, atol=0.0):
    verify(loop)
    outputs = run(loop, arrays, scalars, session)
    for out, want, (_, access) in zip(outputs, expected(loop, arrays, scalars), loop.outputs):
        got = view(out, loop.shape, access)
        if access.dtype is D.bfloat16:  # which NumPy's comparisons know too little of
            got, want = got.astype(np.float32), want.astype(np.float32)
        if rtol or atol:
            np.testing.assert_allclose(got, want, rtol, atol)
        else:
            np.testing.assert_array_equal(got, want)
            if access.dtype.is_floating_point:
                nan = np.isnan(want)
                np.testing.assert_array_equal(np.signbit(got)[~nan], np.signbit(want)[~nan])


def numbers(rng, n, dtype):
    if dtype is boolean:
        return rng.integers(0, 2, n).astype(bool)
    if dtype.is_floating_point:
        special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, 1e-40, 65520.0, -3.5, 2.5])
        x = np.where(rng.random(n) < 0.3, rng.choice(special, n), rng.standard_normal(n) * 4)
        with np.errstate(over="ignore"):
            return x.astype(dtype.np)
    info = np.iinfo(dtype.np)
    special = rng.choice(np.array([info.min, info.max, 0, 1], dtype.np), n)
    return np.where(rng.random(n) < 0.3, special, rng.integers(0, 100, n).astype(dtype.np))


def seeded(*what):
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


# --- maps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 16, 64, 65, 127, 128, 1000, 5003])
def test_lengths(session, n):
    """relu(x * y + 3): every length of a tail."""
    b = Body()
    x, y, c, z = b("input", dtype=f32, const=0), b("input", dtype=f32, const=1), b("const", dtype=f32, const=3.0), None
    z = b("max", b("add", b("mul", x, y), c), b("const", dtype=f32, const=0.0))
    loop = Loop((n,), 0, (Access(f32, (1,)),) * 2, (), tuple(b.instrs), ((z, Access(f32, (1,))),))
    rng = seeded("lengths", n)
    check(loop, [rng.standard_normal(n).astype(np.float32) for _ in range(2)], session=session)


INTEGERS = [D.uint8, D.int8, D.int16, D.uint16, D.int32, D.uint32, D.int64, D.uint64]


@pytest.mark.parametrize("dtype", [f32, f64, *INTEGERS, boolean], ids=lambda d: d.name)
def test_ops_of_dtype(session, dtype):
    """Every op that is exact, of special and of ordinary values: all in one loop with many outputs."""
    both = ["min", "max", "eq", "ne", "lt", "le", "gt", "ge"]
    if dtype is boolean:
        binary, unary = ["and", "or", "xor", "eq", "ne", "lt", "le", "gt", "ge"], ["not"]
    elif dtype.is_floating_point:
        binary = ["add", "sub", "mul", "div", "fmin", "fmax", "copysign", *both]
        unary = ["neg", "abs", "sqrt", "floor", "ceil", "trunc", "rint", "isnan"]
    else:
        binary, unary = ["add", "sub", "mul", "and", "or", "xor", *both], ["neg", "abs", "not"]
    b = Body()
    x, y = b("input", dtype=dtype, const=0), b("input", dtype=dtype, const=1)
    results = [b(op, x, y, dtype=boolean if op in BOOLEAN_OPS else dtype) for op in binary]
    results += [b(op, x, dtype=boolean if op == "isnan" else dtype) for op in unary]
    outputs = tuple((v, Access(b.instrs[v].dtype, (1,))) for v in results)
    n = 203
    loop = Loop((n,), 0, (Access(dtype, (1,)),) * 2, (), tuple(b.instrs), outputs)
    rng = seeded("ops", dtype.name)
    x, y = numbers(rng, n, dtype), numbers(rng, n, dtype)
    if dtype.is_floating_point:  # which of -0.0 and 0.0 is the larger is left open
        x[x == 0], y[y == 0] = 0.0, 0.0
    check(loop, [x, y], session=session)


BOOLEAN_OPS = {"eq", "ne", "lt", "le", "gt", "ge"}


@pytest.mark.parametrize("dtype", [f32, f64, i32, i64, D.int8, u8], ids=lambda d: d.name)
def test_division(session, dtype):
    """Quotients and remainders round as Python's and C's do; an integer divided by 0 does not trap."""
    ops = ["rem", "floordiv", "fmod"]
    b = Body()
    x, y = b("input", dtype=dtype, const=0), b("input", dtype=dtype, const=1)
    outputs = tuple((b(op, x, y), Access(dtype, (1,))) for op in ops)
    loop = Loop((91,), 0, (Access(dtype, (1,)),) * 2, (), tuple(b.instrs), outputs)
    rng = seeded("division", dtype.name)
    x, y = numbers(rng, 91, dtype), numbers(rng, 91, dtype)
    if not dtype.is_floating_point:
        run(loop, [x, y], session=session)
        y[y == 0] = 3
    check(loop, [x, y], session=session)


@pytest.mark.parametrize("source", [boolean, *INTEGERS, D.float16, D.bfloat16, f32, f64], ids=lambda d: d.name)
def test_casts(session, source):
    """To every other dtype."""
    rng = seeded("casts", source.name)
    x = numbers(rng, 301, source)
    if source.is_floating_point:  # an integer from what does not fit is the machine's choice
        small = (rng.random(301) * 100).astype(source.np)
    else:
        small = x
    for targets, array in [([*INTEGERS], small), ([boolean, D.float16, D.bfloat16, f32, f64], x)]:
        b = Body()
        value = b("input", dtype=source, const=0)
        outputs = tuple((b("cast", value, dtype=t), Access(t, (1,))) for t in targets)
        loop = Loop((301,), 0, (Access(source, (1,)),), (), tuple(b.instrs), outputs)
        check(loop, [array], session=session)


@pytest.mark.parametrize("target", [D.uint8, D.int8, D.int16, D.bfloat16, D.float16], ids=lambda d: d.name)
@pytest.mark.parametrize("source", [f32, f64], ids=lambda d: d.name)
@pytest.mark.parametrize("columns", [5, 9, 17, 33])
def test_narrow_results_stay_in_their_memory(session, columns, source, target):
    """Rows with one element more than vectors hold: that lane, stored alone, must not be as wide as what it was made of."""
    x = np.arange(7 * columns).reshape(7, columns).astype(source.np)
    b = Body()
    value = b("input", dtype=source, const=0)
    total = b("sum", value)
    curved = b("tanh", b("exp", b("tanh", value)))  # long bodies have few lanes
    clipped = b("min", value, total)  # the values themselves: no sum is smaller than its terms here
    results = [(clipped, source), (curved, source), (b("cast", clipped, dtype=target), target)]
    every = tuple((i, Access(dtype, (columns, 1))) for i, dtype in results)
    loop = Loop((7, columns), 1, (Access(source, (columns, 1)),), (), tuple(b.instrs), every)
    run(loop, [x], session=session)  # which looks behind them


@pytest.mark.parametrize("half", [D.float16, D.bfloat16], ids=lambda d: d.name)
def test_every_half(session, half):
    """All 65,536 of them to float32, and back from what lies on both sides of every rounding boundary."""
    b = Body()
    value = b("cast", b("input", dtype=half, const=0), dtype=f32)
    loop = Loop((1 << 16,), 0, (Access(half, (1,)),), (), tuple(b.instrs), ((value, Access(f32, (1,))),))
    x = np.arange(1 << 16, dtype=np.uint16).view(half.np)
    check(loop, [x], session=session)

    b = Body()
    value = b("cast", b("input", dtype=f32, const=0), dtype=half)
    loop = Loop((1 << 16,), 0, (Access(f32, (1,)),), (), tuple(b.instrs), ((value, Access(half, (1,))),))
    exact = x.astype(np.float32)
    ulp_bits = 13 if half is D.float16 else 16
    for shift in [0, 1, (1 << ulp_bits - 1) - 1, 1 << ulp_bits - 1, (1 << ulp_bits - 1) + 1]:
        moved = (exact.view(np.uint32) + np.uint32(shift)).view(np.float32)
        check(loop, [moved], session=session)


LAYOUTS = [
    ((6, 40), [(40, 1), (0, 1)], (40, 1)),
    ((6, 40), [(1, 6), (40, 1)], (40, 1)),
    ((6, 40), [(1, 6), (1, 6)], (1, 6)),
    ((40, 6), [(6, 1), (1, 0)], (6, 1)),
    ((3, 5, 7), [(35, 7, 1), (7, 0, 1)], (35, 7, 1)),
    ((3, 5, 7), [(1, 21, 3), (0, 0, 0)], (35, 7, 1)),
    ((50,), [(-1,), (3,)], (2,)),
    ((4, 1, 33), [(33, 0, 1), (0, 5, 1)], (33, 33, 1)),
    ((1,), [(1,), (0,)], (1,)),
    ((2, 3, 4, 5), [(60, 20, 5, 1), (1, 2, 6, 24)], (60, 20, 5, 1)),
    ((37, 300), [(1, 37), (1, 0)], (300, 1)),
    ((2, 40, 256), [(10240, 1, 40), (40, 1, 0)], (10240, 256, 1)),
]


@pytest.mark.parametrize("dtype", [f32, i64, u8, boolean], ids=lambda d: d.name)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_layouts(session, layout, dtype):
    """Broadcast, strided, reversed and permuted operands."""
    shape, strides, out = layout
    b = Body()
    values = [b("input", dtype=dtype, const=k) for k in range(2)]
    result = b("xor" if dtype is boolean else "sub", *values)
    inputs = tuple(Access(dtype, s) for s in strides)
    loop = Loop(shape, 0, inputs, (), tuple(b.instrs), ((result, Access(dtype, out)),))
    rng = seeded("layouts", layout, dtype.name)
    check(loop, [rng.integers(0, 2, room(shape, a)).astype(dtype.np) for a in inputs], session=session)


def test_scalars_consts_index_select(session):
    shape = (5, 37)
    b = Body()
    x = b("input", dtype=f32, const=0)
    lr, flag, n = b("scalar", dtype=f32, const=0), b("scalar", dtype=boolean, const=1), b("scalar", dtype=i64, const=2)
    row, column = b("index", dtype=i64, const=0), b("index", dtype=i64, const=1)
    causal = b("le", b("add", column, n), row, dtype=boolean)
    y = b("select", b("and", causal, flag), b("mul", x, lr), b("const", dtype=f32, const=-np.inf))
    outputs = (
        (y, Access(f32, (37, 1))),
        (b("add", b("mul", row, b("const", dtype=i64, const=-3)), column), Access(i64, (37, 1))),
        (lr, Access(f32, (37, 1))),
    )
    scalars = (f32, boolean, i64)
    loop = Loop(shape, 0, (Access(f32, (37, 1)),), scalars, tuple(b.instrs), outputs)
    x = seeded("select").standard_normal(shape).astype(np.float32).ravel()
    check(loop, [x], [0.1, 1.0, -30], session)
    check(loop, [x], [1e-3, 0.0, 2], session)


def test_in_place(session):
    """An update that writes over its own input, with a tail."""
    b = Body()
    p, g, lr = b("input", dtype=f32, const=0), b("input", dtype=f32, const=1), b("scalar", dtype=f32, const=0)
    new = b("sub", p, b("mul", g, lr))
    access = Access(f32, (1,))
    loop = Loop((1001,), 0, (access, access), (f32,), tuple(b.instrs), ((new, access), (p, access)))
    rng = seeded("in place")
    p, g = rng.standard_normal((2, 1001)).astype(np.float32)
    want = p - g * np.float32(0.25)
    old = np.empty_like(p)
    before = p.copy()
    call(loop, [p, g], [p, old], [0.25], session)
    np.testing.assert_array_equal(p, want)
    np.testing.assert_array_equal(old, before)


def test_empty(session):
    b = Body()
    x = b("input", dtype=f32, const=0)
    access = Access(f32, (4, 1))
    check(Loop((0, 4), 0, (access,), (), tuple(b.instrs), ((x, access),)), [np.zeros(1, np.float32)], session=session)
    for op, want in [("sum", 0), ("prod", 1), ("max", -np.inf), ("min", np.inf)]:
        loop = Loop((3, 0), 1, (access,), (), (*b.instrs, Instr(op, f32, (0,))), ((1, Access(f32, (1, 0))),))
        assert (run(loop, [np.zeros(1, np.float32)], session=session)[0][:3] == want).all()


# --- reductions ----------------------------------------------------------------------------------------------

SHAPES = [
    ((1,), 1), ((10,), 1), ((1000,), 1), ((100_003,), 1), ((7, 10), 1), ((5, 1000), 1), ((33, 3), 1),
    ((4, 6, 50), 2), ((4, 60, 3), 2), ((2, 3, 4, 70), 2), ((2, 70, 70, 5), 3), ((9, 1), 1), ((1, 9), 1),
    ((64, 10), -1), ((300, 77), -1), ((5, 6, 70), -2), ((5, 6, 70), -1), ((17, 1), -1), ((1, 17), -1), ((5, 3, 4), -2),
]  # fmt: skip


def kept_strides(shape, reduce):
    """Contiguous strides of a result with one value a row."""
    axes = range(len(shape) - reduce, len(shape)) if reduce > 0 else range(-reduce)
    return tuple(0 if d in axes else s for d, s in enumerate(contiguous([1 if d in axes else n for d, n in enumerate(shape)])))


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_reductions(session, case):
    """Sums, products and extremes of two ways of walking the same data."""
    shape, reduce = case
    strides = contiguous(shape)
    for permuted in (False, True):
        if permuted:  # memory in the opposite order
            strides = tuple(reversed(contiguous(shape[::-1])))
        b = Body()
        x, k = b("input", dtype=f32, const=0), b("input", dtype=i32, const=1)
        kept = kept_strides(shape, reduce)
        floats = [b(op, x) for op in ("max", "min", "sum", "prod")]
        wide = [b(op, b("cast", k, dtype=i64)) for op in ("sum", "max", "min", "prod")]
        positive = b("gt", x, b("const", dtype=f32, const=0.0), dtype=boolean)
        bits = [b("any", positive), b("all", positive)]
        outputs = tuple((v, Access(b.instrs[v].dtype, kept)) for v in floats + wide + bits)
        inputs = (Access(f32, strides), Access(i32, strides))
        loop = Loop(shape, reduce, inputs, (), tuple(b.instrs), outputs)
        rng = seeded("reductions", case)
        n = int(np.prod(shape))
        x = (1 + (rng.random(n) - 0.5) / np.sqrt(n)).astype(np.float32)
        rtol = 1e-6 + 2.0**-23 * np.sqrt(n)  # a product has as many rounding errors as factors
        check(loop, [x, rng.integers(-2, 3, n).astype(np.int32)], session=session, rtol=rtol)


@pytest.mark.parametrize("op", ["max", "min"])
def test_extremes_propagate_nan(session, op):
    b = Body()
    x = b("input", dtype=f32, const=0)
    loop = Loop((130,), 1, (Access(f32, (1,)),), (), (*b.instrs, Instr(op, f32, (x,))), ((1, Access(f32, (0,))),))
    for place in [0, 1, 63, 64, 127, 128, 129]:
        x = np.arange(130, dtype=np.float32)
        x[place] = np.nan
        assert np.isnan(run(loop, [x], session=session)[0][0])


def test_sums_are_accurate(session):
    """A million numbers of one sign, and with cancellation, to a few units of the last place of their size."""
    n = 1_000_003
    b = Body()
    x = b("input", dtype=f32, const=0)
    loop = Loop((n,), 1, (Access(f32, (1,)),), (), (*b.instrs, Instr("sum", f32, (x,))), ((1, Access(f32, (0,))),))
    rng = seeded("accuracy")
    for x in (rng.random(n), rng.standard_normal(n)):
        x = x.astype(np.float32)
        error = abs(float(run(loop, [x], session=session)[0][0]) - x.sum(dtype=np.float64))
        assert error <= 4 * 2.0**-24 * np.abs(x).sum(dtype=np.float64)


def softmax(b, log=False):
    x = b("input", dtype=f32, const=0)
    shifted = b("sub", x, b("max", x))
    e = b("exp", shifted)
    total = b("sum", e)
    return b("sub", shifted, b("log", total)) if log else b("div", e, total)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "case", [((6, 10), 1), ((3, 1000), 1), ((2, 70_000), 1), ((10, 6), -1), ((5, 200), -1), ((2, 3, 70), 2)], ids=str
)
def test_softmax(session, case, log):
    """Three passes over a row, in place too; rows that fit the buffer and rows that don't."""
    shape, reduce = case
    b = Body()
    result = softmax(b, log)
    access = Access(f32, contiguous(shape))
    loop = Loop(shape, reduce, (access,), (), tuple(b.instrs), ((result, access),))
    x = (seeded("softmax", case).standard_normal(shape) * 3).astype(np.float32)
    check(loop, [x.ravel()], session=session, rtol=4e-6, atol=1e-6)
    y = x.copy()
    call(loop, [y], [y], [], session)
    np.testing.assert_array_equal(y, view(run(loop, [x.ravel()], session=session)[0], shape, access))


@pytest.mark.parametrize("dtype", [f32, f64], ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(6, 16), (4, 1000), (3, 7)], ids=str)
def test_layer_norm(session, shape, dtype):
    """Mean and variance as outputs of a row, then the normalised row under a weight and a bias."""
    n = shape[1]
    b = Body()
    x, w, c = (b("input", dtype=dtype, const=k) for k in range(3))
    count = b("const", dtype=dtype, const=float(n))
    mean = b("div", b("sum", x), count)
    centred = b("sub", x, mean)
    variance = b("div", b("sum", b("mul", centred, centred)), count)
    scale = b("div", b("const", dtype=dtype, const=1.0), b("sqrt", b("add", variance, b("const", dtype=dtype, const=1e-5))))
    y = b("add", b("mul", b("mul", centred, scale), w), c)
    full, row, column = Access(dtype, (n, 1)), Access(dtype, (1, 0)), Access(dtype, (0, 1))
    loop = Loop(shape, 1, (full, column, column), (), tuple(b.instrs), ((y, full), (mean, row), (scale, row)))
    rng = seeded("layer norm", shape)
    arrays = [rng.standard_normal(shape).ravel(), rng.standard_normal(n), rng.standard_normal(n)]
    rtol, atol = (2e-5, 2e-6) if dtype is f32 else (1e-12, 1e-14)
    check(loop, [a.astype(dtype.np) for a in arrays], session=session, rtol=rtol, atol=atol)


def test_row_result_stored_everywhere(session):
    """x - max(x), and the maximum itself broadcast along its row."""
    b = Body()
    x = b("input", dtype=f32, const=0)
    m = b("max", x)
    full = Access(f32, (50, 1))
    loop = Loop((4, 50), 1, (full,), (), tuple(b.instrs), ((m, full), (x, full)))
    check(loop, [seeded("rows").standard_normal(200).astype(np.float32)], session=session)


def test_the_next_row_is_fetched_while_there_is_something_to_do():
    """Where rows are walked several times and fit the cache; what is the same for each row is there already."""

    def fetches(n, *instrs):
        x, w, full, row = Instr("input", f32, (), 0), Instr("input", f32, (), 1), Access(f32, (n, 1)), Access(f32, (1, 0))
        loop = Loop((9, n), 1, (full, Access(f32, (0, 1))), (), (x, w, *instrs), ((len(instrs) + 1, full if instrs[1:] else row),))
        verify(loop)
        return loop_ir(loop, compiler.session().machine, "kernel").count("call void @llvm.prefetch")

    several = Instr("max", f32, (0,)), Instr("mul", f32, (0, 1)), Instr("sub", f32, (3, 2))
    assert fetches(640, *several) in (2, 4, 8)  # so many lines of what is read and as many of what is written
    assert fetches(100_000, *several) == fetches(640, Instr("max", f32, (0,))) == 0


# --- the verifier and the printer ----------------------------------------------------------------------------

A = Access(f32, (1,))
X = Instr("input", f32, (), 0)

BROKEN = [
    (Loop((), 0, (), (), (Instr("const", f32, (), 1.0),), ((0, Access(f32, ())),)), "the shape must have"),
    (Loop((3,), 2, (A,), (), (X,), ((0, A),)), "reduce = 2 is out of range"),
    (Loop((3, 4), 0, (A,), (), (X,), ((0, A),)), "input 0 has 1 strides for 2 dimensions"),
    (Loop((3,), 0, (A,), (), (X._replace(dtype=f64),), ((0, A),)), "it is torch.float32"),
    (Loop((3,), 0, (A,), (), (X._replace(const=1),), ((0, A),)), "there are 1"),
    (Loop((3,), 0, (A,), (), (X, Instr("add", f32, (0, 1))), ((1, A),)), "not an earlier instruction"),
    (Loop((3,), 0, (A,), (), (X, Instr("add", f32, (0,))), ((1, A),)), "expected 2 arguments, got 1"),
    (Loop((3,), 0, (A,), (), (X, Instr("frobnicate", f32, (0,))), ((1, A),)), "unknown op"),
    (Loop((3,), 0, (A,), (), (X, Instr("and", f32, (0, 0))), ((1, A),)), "does not compute"),
    (Loop((3,), 0, (A,), (), (X, Instr("lt", f32, (0, 0))), ((1, A),)), "cannot compare"),
    (Loop((3,), 0, (A,), (), (X, Instr("select", f32, (0, 0, 0))), ((1, A),)), "expected (torch.bool"),
    (Loop((3,), 0, (A,), (), (X, Instr("sum", f32, (0,))), ((1, A),)), "a reduction in a loop that reduces nothing"),
    (Loop((3,), 1, (A,), (), (X,), ((0, Access(f32, (0,))),)), "writes many values to one place"),
    (Loop((3,), 0, (A,), (), (X,), ((0, Access(f64, (1,))),)), "stores torch.float32 as torch.float64"),
    (Loop((3,), 0, (A,), (), (X,), ()), "there is no output"),
    (Loop((3,), 0, (A,), (), (X, Instr("const", i64, (), 1.5)), ((0, A),)), "no constant of type"),
]


@pytest.mark.parametrize("loop, message", BROKEN, ids=lambda v: v if isinstance(v, str) else "")
def test_verifier(loop, message):
    with pytest.raises(ValueError) as error:
        verify(loop)
    assert message in str(error.value)


def test_text_tells_constants_apart():
    """0.0 == -0.0 == False and nan != nan: loops are found by their text."""
    loops = [
        Loop((3,), 0, (A,), (), (X, Instr("const", f32, (), c), Instr("add", f32, (0, 1))), ((2, A),))
        for c in (0.0, -0.0, 0, False, np.nan)
    ]
    assert len({str(loop) for loop in loops}) == len(loops)
    assert str(loops[0]) == (
        "loop (3,) reduce 0 scalars ()\n  in0: float32 (1,)\n  %0 = input.float32 0\n  %1 = const.float32 0.0\n"
        "  %2 = add.float32 %0, %1\n  out0: float32 (1,) = %2"
    )


def test_reductions_have_names_of_their_own_or_one_argument():
    assert {"sum", "max"} < REDUCTIONS
    assert is_reduction(Instr("max", f32, (0,))) and not is_reduction(Instr("max", f32, (0, 1)))


# --- random loops --------------------------------------------------------------------------------------------


def random_layout(rng, shape, write):
    """Strides of an operand of ``shape``: any order of the dimensions in memory, gaps, broadcasts (if only read)."""
    strides = [0] * len(shape)
    step = int(rng.choice([1, 1, 1, 2]))
    order = rng.permutation(len(shape)) if rng.random() < 0.5 else range(len(shape))[::-1]
    for d in order:
        if not write and rng.random() < 0.2:
            continue
        strides[d] = step
        step *= shape[d] + int(rng.random() < 0.1)
    return tuple(int(s) for s in strides)


def random_loop(rng):
    """Any shape, layouts and reductions, several stages of them; values stay between 0.5 and a few millions."""
    rank = int(rng.integers(1, 5))
    shape = tuple(int(n) for n in rng.choice([1, 2, 3, 5, 8, 16, 17, 33, 64, 70, 130], rank))
    while np.prod(shape) > 60_000:
        shape = tuple(max(1, n // 2) for n in shape)
    reduce = int(rng.integers(-rank, rank + 1))
    dtype = f32 if rng.random() < 0.7 else f64
    inputs = tuple(Access(dtype, random_layout(rng, shape, False)) for _ in range(rng.integers(1, 4)))
    b = Body()
    values = [b("input", dtype=dtype, const=k) for k in range(len(inputs))]
    values.append(b("const", dtype=dtype, const=1.25))
    for _ in range(rng.integers(1, 8)):
        x, y = (int(v) for v in rng.choice(values, 2))
        op = rng.choice(["add", "max", "min", "abs", "select", "square root", "mean", "greatest", "least", "exp", "div"])
        if op == "select":
            value = b("select", b("lt", x, y, dtype=boolean), x, y)
        elif op == "square root":
            value = b("sqrt", x)
        elif op == "abs":
            value = b("abs", b("neg", x))
        elif op == "div":
            value = b("div", x, b("add", y, b("const", dtype=dtype, const=0.5)))
        elif op == "exp":  # of nothing large
            value = b("exp", b("div", x, b("add", x, y)))
        elif op in ("mean", "greatest", "least"):
            if not reduce:
                continue
            value = b({"mean": "sum", "greatest": "max", "least": "min"}[op], x)
            if op == "mean":
                count = np.prod([shape[d] for d in Loop(shape, reduce, (), (), (), ()).reduced])
                value = b("div", value, b("const", dtype=dtype, const=float(count)))
        else:
            value = b(op, x, y)
        values.append(value)
    outputs = []
    for value in rng.choice(values, int(rng.integers(1, 4))):
        outputs.append((int(value), Access(dtype, random_layout(rng, shape, True))))
    loop = Loop(shape, reduce, inputs, (), tuple(b.instrs), tuple(outputs))
    if reduce and rng.random() < 0.6:  # one value a row instead, where that is possible
        for k, (value, access) in enumerate(outputs):
            row = Access(dtype, tuple(0 if d in loop.reduced else s for d, s in enumerate(access.strides)))
            attempt = loop._replace(outputs=(*loop.outputs[:k], (value, row), *loop.outputs[k + 1 :]))
            try:
                verify(attempt)
            except ValueError:
                continue
            loop = attempt
    return loop


@pytest.mark.parametrize("seed", range(40))
def test_random_loops(session, seed):
    rng = np.random.default_rng(seed)
    loop = random_loop(rng)
    arrays = [(0.5 + 2 * rng.random(room(loop.shape, a))).astype(a.dtype.np) for a in loop.inputs]
    check(loop, arrays, session=session, rtol=1e-5 if loop.inputs[0].dtype is f32 else 1e-13)
