"""Random numbers in native code: the Mersenne twister's words, and what :mod:`flambeau.core.random` makes of them.

Every function here is ``void kernel(state, out, n, a, b)``: it moves the twister on (``state`` is NumPy's: 624 words and the
place of the next) and writes ``n`` results. The bits are those of the NumPy code: the same operations, rounded as often.

M. Matsumoto and T. Nishimura, "Mersenne Twister", ACM TOMACS 8(1), 1998. A new state is made in place, a vector at a time:
a word depends on itself, on its successor and on the word 397 further on, round about.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from flambeau.core.random import boxmuller
from flambeau.engine.cpu.compiler import Machine, Session, builtin, session
from flambeau.engine.cpu.emit import Code, Value

_WORDS, _AHEAD = 624, 397
_CHUNK = 1024  # results made at a time, so that their words stay in the first cache
_LANES = 16
_BLOCK = 16  # normal samples that belong together

_PARAMETERS = ("ptr %state", "ptr %out", "i64 %n", "double %a", "double %b")


class _Kernel(Code):
    """A kernel under construction, with its parameters."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.state, self.out = Value(self, "%state", "ptr", 0), Value(self, "%out", "ptr", 0)
        self.n = Value(self, "%n", "i64", 0)
        self.a, self.b = Value(self, "%a", "double", 0), Value(self, "%b", "double", 0)

    def repeat(self, start: Value, stop: Value, step: int, body: Callable[[Value], None]) -> None:
        """``for i in range(start, stop, step): body(i)``."""

        def once(i: Value, _: list[Value]) -> list[Value]:
            body(i)
            return []

        self.loop(start, stop, step, [], once)

    def by_vectors(self, start: int, count: Value, body: Callable[[Value, int], None]) -> None:
        """``body(i, lanes)`` for ``i`` from ``start``, ``count`` of them: by vectors, then (``lanes`` 0) one by one."""
        stop = count + start
        whole = (count & -_LANES) + start
        self.repeat(self.index(start), whole, _LANES, lambda i: body(i, _LANES))
        self.repeat(whole, stop, 1, lambda i: body(i, 0))

    def by_chunks(self, size: int, body: Callable[[Value, Value], None]) -> None:
        """``body(start, count)`` for the results, at most ``size`` at a time."""
        self.repeat(self.index(0), self.n, size, lambda i: body(i, (self.n - i).intrinsic("smin", size)))

    def words(self, out: Value, count: Value) -> None:
        """Writes the next ``count`` 32-bit words."""
        self.line(f"call void @random_next(ptr {self.state.ref}, ptr {out.ref}, i64 {count.ref})")


# --- words -------------------------------------------------------------------------------------------------------


def _next(code: _Kernel) -> None:
    """Writes the next ``n`` words to ``out``: in rounds, each of which ends with the state's words."""
    place = code.state.offset(_WORDS, "i32")
    first = place.load("i32").convert("sext", "i64")
    rounds = (first + code.n + (_WORDS - 1)).binary("udiv", _WORDS)

    def round_(k: Value, carried: list[Value]) -> list[Value]:
        (done,) = carried

        def renewed() -> list[Value]:
            _renew(code)
            return [code.index(0)]

        (start,) = code.when(k.compare("sgt", 0), [first], renewed)
        count = (code.n - done).intrinsic("smin", _WORDS - start)
        source, target = code.state.offset(start, "i32"), code.out.offset(done, "i32")

        def temper(i: Value, lanes: int) -> None:
            y = source.offset(i, "i32").load("i32", lanes)
            y = y ^ y.binary("lshr", 11)
            y = y ^ ((y << 7) & 0x9D2C5680)
            y = y ^ ((y << 15) & 0xEFC60000)
            target.offset(i, "i32").store(y ^ y.binary("lshr", 18))

        code.by_vectors(0, count, temper)
        place.store((start + count).convert("trunc", "i32"))
        return [done + count]

    code.loop(code.index(0), rounds, 1, [code.index(0)], round_)


def _renew(code: _Kernel) -> None:
    """The next 624 words of the state."""

    def word(i: Value, following: Value | int, other: Value | int, lanes: int) -> None:
        here = code.state.offset(i, "i32")
        upper, lower, third = (
            p.load("i32", lanes) for p in (here, code.state.offset(following, "i32"), code.state.offset(other, "i32"))
        )
        y = (upper & 0x8000_0000) | (lower & 0x7FFF_FFFF)
        here.store(third ^ y.binary("lshr", 1) ^ (-(y & 1) & 0x9908_B0DF))

    back = _WORDS - _AHEAD
    code.by_vectors(0, code.index(back), lambda i, lanes: word(i, i + 1, i + _AHEAD, lanes))
    code.by_vectors(back, code.index(_AHEAD - 1), lambda i, lanes: word(i, i + 1, i - back, lanes))
    word(code.index(_WORDS - 1), 0, _AHEAD - 1, 0)


def _words(code: _Kernel) -> None:
    """32-bit words."""
    code.words(code.out, code.n)


def _long(words: Value, i: Value, lanes: int) -> Value:
    """The 64-bit words made of pairs of ``words``, of which the first is the high one."""
    pair = words.offset(i, "i64").load("i64", lanes)
    return pair.intrinsic("fshl", pair, 32)


def _double(words: Value, i: Value, lanes: int) -> Value:
    """Uniform numbers of 53 bits."""
    return (_long(words, i, lanes) & ((1 << 53) - 1)).convert("uitofp", "double") * 2.0**-53


def _in_place(make: Callable[[Value, Value, int], Value]) -> Callable[[_Kernel], None]:
    """The kernel of results of 64 bits, which are made of two words each where the results go."""

    def kernel(code: _Kernel) -> None:
        def chunk(start: Value, count: Value) -> None:
            out = code.out.offset(start, "i64")
            code.words(out, count + count)
            code.by_vectors(0, count, lambda i, lanes: out.offset(i, "i64").store(make(out, i, lanes)))

        code.by_chunks(_CHUNK, chunk)

    return kernel


# --- uniform numbers, integers -----------------------------------------------------------------------------------


def _float(words: Value, i: Value, lanes: int) -> Value:
    """Uniform numbers of 24 bits."""
    return (words.offset(i, "i32").load("i32", lanes) & 0xFF_FFFF).convert("sitofp", "float") * 2.0**-24


def _floats(code: _Kernel) -> None:
    """``float32`` numbers of the uniform distribution on [a, b); what is rounded to b becomes a."""
    low, high = (x.convert("fptrunc", "float") for x in (code.a, code.b))
    span = high - low

    def chunk(start: Value, count: Value) -> None:
        out = code.out.offset(start, "float")
        code.words(out, count)

        def scale(i: Value, lanes: int) -> None:
            first = low.splat(lanes)
            x = _fused(_float(out, i, lanes), span.splat(lanes), first)
            out.offset(i, "float").store(x.compare("oeq", high.splat(lanes)).select(first, x))

        code.by_vectors(0, count, scale)

    code.by_chunks(_CHUNK, chunk)


def _integers(code: _Kernel) -> None:
    """``int64``: ``a`` plus the remainders of 32-bit words by ``b``, as ``float64`` has them exactly."""
    low = code.a.convert("fptosi", "i64")
    scratch = code.allocate("i32", _CHUNK)

    def chunk(start: Value, count: Value) -> None:
        out = code.out.offset(start, "i64")
        code.words(scratch, count)

        def remainder(i: Value, lanes: int) -> None:
            word, span = scratch.offset(i, "i32").load("i32", lanes).convert("uitofp", "double"), code.b.splat(lanes)
            # The quotient of integers below 2**32 is further from the next integer than a rounding error.
            rest = word - (word / span).intrinsic("trunc") * span
            out.offset(i, "i64").store(rest.convert("fptosi", "i32").convert("zext", "i64") + low.splat(lanes))

        code.by_vectors(0, count, remainder)

    code.by_chunks(_CHUNK, chunk)


def _chances(code: _Kernel) -> None:
    """``float32``: ``b`` with probability ``a``, else 0."""
    value = code.b.convert("fptrunc", "float")
    scratch = code.allocate("i64", _CHUNK)

    def chunk(start: Value, count: Value) -> None:
        out = code.out.offset(start, "float")
        code.words(scratch, count + count)

        def choose(i: Value, lanes: int) -> None:
            happens = _double(scratch, i, lanes).compare("olt", code.a.splat(lanes))
            out.offset(i, "float").store(happens.select(value.splat(lanes), 0.0))

        code.by_vectors(0, count, choose)

    code.by_chunks(_CHUNK, chunk)


def _permutation(code: _Kernel) -> None:
    """``int64``: the integers below ``n`` after Fisher and Yates's shuffle, a word for each but the last."""
    scratch = code.allocate("i32", _CHUNK)
    code.repeat(code.index(0), code.n, 1, lambda i: code.out.offset(i, "i64").store(i))
    n, code.n = code.n, code.n - 1

    def chunk(start: Value, count: Value) -> None:
        code.words(scratch, count)

        def swap(k: Value) -> None:
            i = start + k
            left = (n - i).convert("trunc", "i32")
            further = scratch.offset(k, "i32").load("i32").binary("urem", left).convert("zext", "i64")
            here = code.out.offset(i, "i64")
            there = here.offset(further, "i64")
            one, other = here.load("i64"), there.load("i64")
            here.store(other)
            there.store(one)

        code.repeat(code.index(0), count, 1, swap)

    code.by_chunks(_CHUNK, chunk)


# --- normal numbers ----------------------------------------------------------------------------------------------


def _fused(x: Value, b: Value | float, c: Value | float) -> Value:
    """``x * b + c`` of ``float32`` rounded once, on every machine."""
    if x.code.machine.fma:
        return x.fma(b, c)
    # The product is exact in float64; the sum is rounded to odd where it is not, so that rounding it again does no harm.
    x, b, c = (v.convert("fpext", "double") for v in (x, x.like(b), x.like(c)))
    product = x * b
    total = product + c
    shadow = total - product
    error = (product - (total - shadow)) + (c - shadow)
    bits = total.bits()
    wrong = error.compare("one", 0.0).select((bits & 1) ^ 1, 0)
    away = error.compare("ogt", 0.0) ^ total.compare("olt", 0.0)
    bits = bits + away.select(wrong, -wrong)
    return bits.convert("bitcast", "double").convert("fptrunc", "float")


def _horner(coefficients: tuple, x: Value) -> Value:
    value = x.like(float(coefficients[0]))
    for c in coefficients[1:]:
        value = _fused(value, x, float(c))
    return value


def _log(x: Value) -> Value:
    bits = x.bits()
    exponent = bits.binary("ashr", 23) - 126
    x = ((bits & 0x7F_FFFF) | 0x3F00_0000).convert("bitcast", "float")
    small = x.compare("olt", float(boxmuller.SQRT_HALF))
    e = small.select(exponent - 1, exponent).convert("sitofp", "float")
    x = small.select(x + x, x) - 1.0
    z = x * x
    y = _fused(_horner(boxmuller.LOG, x) * x, z, e * float(boxmuller.LN2_LOW))
    return (x + (y - z * 0.5)) + e * float(boxmuller.LN2_HIGH)


def _sin_cos(x: Value) -> tuple[Value, Value]:
    octant = ((x * float(boxmuller.FOUR_OVER_PI)).convert("fptosi", "i32") + 1) & ~1
    j = octant.convert("sitofp", "float")
    high, middle, low = map(float, boxmuller.PI_OVER_FOUR)
    x = _fused(j, -low, x - j * high - j * middle)
    z = x * x
    cos = _fused(_horner(boxmuller.COS, z) * z, z, z * -0.5) + 1.0
    sin = _fused(_horner(boxmuller.SIN, z) * z, x, x)
    swap = (octant & 2).compare("ne", 0)
    sin, cos = swap.select(cos, sin), swap.select(sin, cos)
    return _negated(sin, octant & 4), _negated(cos, (octant + 2) & 4)


def _negated(x: Value, where: Value) -> Value:
    """``-x`` where the third bit of ``where``, its only one, is set."""
    return (x.bits() ^ (where << 29)).convert("bitcast", "float")


def _joined(first: Value, second: Value, order: list[int]) -> Value:
    """The lanes of ``first`` and then of ``second``, in another order."""
    which = ", ".join(f"i32 {k}" for k in order)
    mask = f"<{len(order)} x i32> <{which}>"
    return first.code.new(f"shufflevector {first.type} {first.ref}, {second.type} {second.ref}, {mask}", first.kind, len(order))


def _normals(code: _Kernel) -> None:
    """``float32`` numbers of the normal distribution with mean ``a`` and standard deviation ``b``; 16 or more.

    What is left over by blocks of 16 belongs to a block made anew of more words, see ``core.random.distributions``.
    """
    mean, std = (x.convert("fptrunc", "float") for x in (code.a, code.b))

    def blocks(out: Value, number: int) -> None:
        """In place, from words to samples: several blocks side by side."""
        lanes, half = number * _BLOCK, _BLOCK // 2
        uniform = _float(out, code.index(0), lanes)
        u, v = (_joined(uniform, uniform, [k for k in range(lanes) if k % _BLOCK // half == part]) for part in range(2))
        radius = (_log(1.0 - u) * -2.0).sqrt()
        sin, cos = _sin_cos(v * (2 * math.pi))
        first, second = (_fused(radius * x, std.splat(x.lanes), mean.splat(x.lanes)) for x in (cos, sin))
        order = [k // _BLOCK * half + k % half + (k % _BLOCK // half) * lanes // 2 for k in range(lanes)]
        out.store(_joined(first, second, order))

    def chunk(start: Value, count: Value) -> None:
        out = code.out.offset(start, "float")
        code.words(out, count)
        twice, whole = count & -2 * _BLOCK, count & -_BLOCK
        code.repeat(code.index(0), twice, 2 * _BLOCK, lambda i: blocks(out.offset(i, "float"), 2))
        code.repeat(twice, whole, _BLOCK, lambda i: blocks(out.offset(i, "float"), 1))

    code.by_chunks(_CHUNK, chunk)

    def last() -> list[Value]:
        out = code.out.offset(code.n - _BLOCK, "float")
        code.words(out, code.index(_BLOCK))
        blocks(out, 1)
        return []

    code.when((code.n & (_BLOCK - 1)).compare("ne", 0), [], last)


# --- from Python -------------------------------------------------------------------------------------------------

KERNELS: dict[str, Callable[[_Kernel], None]] = {
    "words": _words,
    "longs": _in_place(_long),
    "doubles": _in_place(_double),
    "floats": _floats,
    "integers": _integers,
    "chances": _chances,
    "permutation": _permutation,
    "normals": _normals,
}

# A method of Python's (METH_FASTCALL) bound to None, of: the address of the state, an array, n, a and b. The address of an
# array's elements is the first of its fields.
_METHOD = """
declare ptr @PyLong_AsVoidPtr(ptr)
declare i64 @PyLong_AsSsize_t(ptr)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyErr_Occurred()
declare i32 @PyErr_BadArgument()
declare void @Py_IncRef(ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)

define ptr @random_NAME_method(ptr %none, ptr %arguments, i64 %number) {
entry:
  %five = icmp eq i64 %number, 5
  br i1 %five, label %read, label %wrong
wrong:
  call i32 @PyErr_BadArgument()
  ret ptr null
read:
  %first = load ptr, ptr %arguments
  %state = call ptr @PyLong_AsVoidPtr(ptr %first)
  %place1 = getelementptr ptr, ptr %arguments, i64 1
  %array = load ptr, ptr %place1
  %field = getelementptr i8, ptr %array, i64 HEAD
  %out = load ptr, ptr %field
  %place2 = getelementptr ptr, ptr %arguments, i64 2
  %third = load ptr, ptr %place2
  %n = call i64 @PyLong_AsSsize_t(ptr %third)
  %place3 = getelementptr ptr, ptr %arguments, i64 3
  %fourth = load ptr, ptr %place3
  %a = call double @PyFloat_AsDouble(ptr %fourth)
  %place4 = getelementptr ptr, ptr %arguments, i64 4
  %fifth = load ptr, ptr %place4
  %b = call double @PyFloat_AsDouble(ptr %fifth)
  %error = call ptr @PyErr_Occurred()
  %ok = icmp eq ptr %error, null
  br i1 %ok, label %start, label %failed
failed:
  ret ptr null
start:
  %thread = call ptr @PyEval_SaveThread()
  call void @random_NAME(ptr %state, ptr %out, i64 %n, double %a, double %b)
  call void @PyEval_RestoreThread(ptr %thread)
  call void @Py_IncRef(ptr %none)
  ret ptr %none
}
"""


def module(name: str, machine: Machine) -> str:
    """The LLVM module of a kernel and its method."""
    parts: list[str] = []
    declarations: dict[str, str] = {}
    for function, write in (("next", _next), (name, KERNELS[name])):
        code = _Kernel(machine)
        write(code)
        declarations |= code.declarations
        body = "\n".join(code.allocations + code.lines)
        linkage = "internal " if write is _next else ""
        parameters = ", ".join(_PARAMETERS[:3] if write is _next else _PARAMETERS)
        parts.append(f"define {linkage}void @random_{function}({parameters}) {{\nentry:\n{body}\n  ret void\n}}\n")
    method = _METHOD.replace("NAME", name).replace("HEAD", str(object.__basicsize__))
    return "\n".join([*declarations.values(), *parts, method])


def kernel(name: str, on: Session | None = None) -> Callable:
    """The kernel as a function of Python: ``kernel(state, array, n, a, b)``, without the GIL."""
    on = on or session()
    found: Callable | None = on.memo.get(("random", name))
    if found is None:
        address = on.compile_ir(module(name, on.machine), f"random_{name}_method")
        found = on.memo["random", name] = builtin(f"random_{name}", address)
    return found
