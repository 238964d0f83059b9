"""Kernels that move elements, on random specs: bit for bit what NumPy does, and few kernels for whatever sizes."""

from __future__ import annotations

import ctypes
from math import prod

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from flambeau.core import dtypes as D
from flambeau.engine.cpu.movement import WORTH_DIVIDING, movement_kernel
from flambeau.engine.cpu.scan import scan_kernel
from flambeau.engine.cpu.specs import Lookup, Move, MovementSpec, ScanSpec
from flambeau.engine.shapes import reach
from tests.test_engine_loops import MACHINES, session_of

DTYPES = [D.float32, D.float64, D.int64, D.int32, D.int8, D.uint8, D.int16, D.bool, D.bfloat16, D.float16, D.complex64]
SUMS = DTYPES[:7]
GIVEN = [D.float32, D.float64, D.int64, D.int32, D.int8, D.bool]
EXTENTS = [1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 130, 257, 600]


@pytest.fixture(params=MACHINES, ids=lambda m: m or "host")
def session(request):
    return session_of(request.param)


def run(spec, values, result, numbers, made, place=None):
    """Calls a kernel, as a plan does; the fault that it sets. ``place`` is the address of the result, if it is not its own."""
    address, words = made
    fault = np.zeros(1, np.int64)
    pointers = [x.ctypes.data for x in values] + [place or result.ctypes.data]
    pointers += [fault.ctypes.data] if spec.checked else []
    pointers += [0] * (spec.pointers - len(pointers))
    if spec.numbers:
        pointers[-1] = numbers.ctypes.data
    block = np.array([*pointers, *words], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(block.ctypes.data)
    return int(fault[0])


def places(shape, strides, start):
    """Where each point of a geometry lies, in their order."""
    found = np.full(shape, start, np.int64)
    for d, (n, s) in enumerate(zip(shape, strides)):
        found += (np.arange(n) * s).reshape([-1 if k == d else 1 for k in range(len(shape))])
    return found.ravel()


def entries(lookup, values, shape):
    found = values[lookup.argument][places(shape, lookup.strides, 0)].astype(np.int64)
    return np.where(found < 0, found + lookup.extent, found) if lookup.wraps else found


def meant(spec, values, result, number):
    """What the moves mean."""
    if spec.begin == "zeros":
        result[...] = np.zeros_like(result)
    elif spec.begin == "base":
        result[...] = values[0]
    for m in spec.moves:
        ends = [places(m.shape, s, start) for s, start in zip(m.strides, m.starts)]
        for x in m.lookups:
            i = entries(x, values, m.shape)
            ends[0 if m.reads else 1] += np.where((i < 0) | (i >= x.extent), 0, i) * x.step
        if m.source < 0:
            new = np.broadcast_to(np.array(number if m.constant is None else m.constant).astype(result.dtype), ends[1].shape)
        else:
            new = values[m.source][ends[0]]
        if m.fold:
            {"add": np.add, "max": np.maximum, "min": np.minimum}[m.fold].at(result, ends[1], new)
        else:
            for at, x in ((ends[1], new),) if len(set(ends[1])) == len(ends[1]) else zip(ends[1], new):
                result[at] = x


class Case:
    """A random spec, with values for it."""

    def __init__(self, rng, dtype=None, large=False) -> None:
        add = rng.random() < 0.4
        self.dtype = dtype = dtype or (SUMS if add else DTYPES)[rng.integers(len(SUMS if add else DTYPES))]
        folds = ["add", "max", "min"] if dtype.is_signed else ["add"]
        self.fold, self.rng, self.large = str(rng.choice(folds)) if add and dtype in SUMS else "", rng, large
        self.values: list[np.ndarray] = []
        self.numbers = False
        self.size = 1
        begin = "" if large else str(rng.choice(["", "zeros", "base"]))
        if begin == "base":
            self.values.append(np.zeros(1, dtype.np))
        moves = tuple([self.move() for _ in range(1 if large else rng.choice([1, 1, 2, 3, 12]))])
        if begin == "base":
            self.values[0] = self.elements(self.size)
        self.checked = any(m.lookups for m in moves) and bool(rng.random() < 0.5)
        self.spec = MovementSpec(dtype, self.size, len(self.values), begin, moves, self.checked, self.numbers)
        self.number = float(rng.integers(0, 2)) if dtype is D.bool else float(rng.integers(-100, 100))

    def elements(self, count):
        return (self.rng.standard_normal(count) * 50).astype(self.dtype.np)

    def layout(self, shape, broadcast):
        order = self.rng.permutation(len(shape)) if self.rng.random() < 0.3 else list(reversed(range(len(shape))))
        strides, step = [0] * len(shape), int(self.rng.choice([1, 1, 1, 2]))
        for d in order:
            if not (broadcast and self.rng.random() < 0.2):
                strides[d] = step * (-1 if self.rng.random() < 0.15 else 1)
                step *= shape[d]
        return tuple(strides)

    def move(self):
        rng = self.rng
        rank, most = int(rng.integers(0, 5)), 20_000
        shape = []
        for _ in range(rank):
            shape.append(int(rng.choice([n for n in EXTENTS if n * prod(shape) <= most])))
        if self.large:
            shape.insert(int(rng.integers(0, rank + 1)), int(rng.integers(1, 3)) * WORTH_DIVIDING // prod([*shape, 3]) + 1)
        shape = tuple(shape)
        fills = not self.fold and rng.random() < 0.25
        reads = not fills and not self.fold and rng.random() < 0.5
        lookups = tuple([self.lookup(shape) for _ in range(0 if self.large and not reads else rng.choice([0, 0, 1, 1, 2]))])
        strides = (0,) * len(shape) if fills else self.layout(shape, True), self.layout(shape, bool(self.fold))
        extra = sum(abs((x.extent - 1) * x.step) for x in lookups)
        lows, highs = zip(*[reach(shape, s) for s in strides])
        starts = tuple([-low + int(rng.integers(0, 3)) for low in lows])
        sizes = [high + start + 1 + (extra if reads == (k == 0) else 0) for k, (high, start) in enumerate(zip(highs, starts))]
        self.size = max(self.size, sizes[1])
        if fills:
            given = self.dtype in GIVEN and rng.random() < 0.5
            self.numbers |= given
            constant = (
                None
                if given
                else 1.0
                if self.dtype is D.bool
                else float(rng.integers(0, 100)) + (0.5 if self.dtype.is_floating_point else 0)
            )
            return Move(-1, shape, (0, starts[1]), strides, lookups, False, "", constant)
        self.values.append(self.elements(sizes[0]))
        return Move(len(self.values) - 1, shape, starts, strides, lookups, len(lookups) if reads else 0, self.fold)

    def lookup(self, shape):
        rng = self.rng
        kind = D.int64 if rng.random() < 0.7 else D.int32
        extent, wraps = int(rng.integers(1, 20)), bool(rng.random() < 0.4)
        strides, step = [0] * len(shape), 1
        for d in reversed(range(len(shape))):
            if rng.random() < 0.5:
                strides[d] = step
                step *= shape[d]
        self.values.append(rng.integers(-extent if wraps else 0, extent, step).astype(kind.np))
        return Lookup(len(self.values) - 1, kind, tuple(strides), extent, int(rng.integers(1, 20)), wraps)

    def numbers_given(self):
        given = np.zeros(1, np.int64)
        whole = self.dtype.kind == D.INTEGRAL
        given.view(np.int64 if whole else np.float64)[0] = self.number
        return given

    def check(self, make, session):
        """The kernel does what is meant, on the result's own memory and on the first argument's; the bytes that it makes."""
        rng, spec = self.rng, self.spec
        made, numbers = make(spec, session), self.numbers_given()
        wrong = [x for m in spec.moves for x in m.lookups] if rng.random() < 0.3 else []
        for x in wrong[:1]:
            index = self.values[x.argument]
            bad = int(rng.choice([x.extent, -x.extent - 1, 1 << 30, -(1 << 30), *([-1] if not x.wraps else [])]))
            index[places(next(m for m in spec.moves if x in m.lookups).shape, x.strides, 0)[-1]] = bad
        garbage = np.full(self.size * spec.dtype.itemsize, 0x5A, np.uint8).view(spec.dtype.np)
        want, found = garbage.copy(), garbage.copy()
        if not (wrong and spec.checked):
            meant(spec, self.values, want, self.number)
        assert run(spec, self.values, found, numbers, made) == bool(wrong and spec.checked), spec
        np.testing.assert_array_equal(found.view(np.uint8), want.view(np.uint8), str(spec))
        if spec.begin == "base":
            if wrong and spec.checked:
                want = self.values[0].copy()
            run(spec, self.values, found, numbers, made, self.values[0].ctypes.data)
            np.testing.assert_array_equal(self.values[0].view(np.uint8), want.view(np.uint8), str(spec))
        return found


@pytest.mark.parametrize("seed", range(16))
def test_random_moves(session, seed):
    Case(np.random.default_rng(seed)).check(movement_kernel, session)


@pytest.mark.parametrize("seed", range(2))
def test_random_large_moves(session, seed):
    Case(np.random.default_rng(1000 + seed), [D.float32, D.int8][seed % 2], large=True).check(movement_kernel, session)


@pytest.mark.parametrize("seed", range(40))
def test_random_scans(seed):
    """Added one after the other in double precision, whatever the layout."""
    rng = np.random.default_rng(seed)
    dtype = [D.float32, D.float64, D.int64, D.int32, D.int8][seed % 5]
    shape = tuple([int(n) for n in rng.choice([1, 2, 3, 5, 17, 64], rng.integers(1, 5))])
    product, dim = bool(rng.random() < 0.5), int(rng.integers(len(shape)))
    x = rng.choice([-2.0, -1.0, -0.0, 0.5, 1.0, 1.5], tuple([2 * n for n in shape])).astype(dtype.np)
    x = x[tuple([slice(None, None, 2) if rng.random() < 0.3 else slice(0, n) for n in shape])].transpose(
        rng.permutation(len(shape))
    )
    dim = dim % x.ndim
    if rng.random() < 0.3:
        x = np.ascontiguousarray(x)
    spec = ScanSpec(dtype, "product" if product else "sum", x.shape, tuple([s // x.itemsize for s in x.strides]), dim)
    address, words = scan_kernel(spec)
    out = np.empty(x.shape, dtype.np)
    block = np.array([x.ctypes.data, out.ctypes.data, *words], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(block.ctypes.data)
    wide = x.astype(np.float64) if dtype.is_floating_point else x
    with np.errstate(over="ignore"):
        want = (np.multiply if product else np.add).accumulate(wide, dim, dtype=wide.dtype).astype(dtype.np)
    np.testing.assert_array_equal(out, want)
    assert np.array_equal(np.signbit(out), np.signbit(want))


def test_few_kernels_serve_all_sizes():
    """Lookups, their gradients, pieces put together, pads, parts turned round and sums of random sizes."""
    on, rng = session_of(""), np.random.default_rng(0)

    def sizes():
        rows, n, w = (int(n) for n in rng.integers(1, 200, 3))
        lookup = Lookup(1, D.int64, (1, 0), rows, w, False)
        yield MovementSpec(D.float32, n * w, 2, "", (Move(0, (n, w), (0, 0), ((0, 1), (w, 1)), (lookup,), reads=1),), True)
        yield MovementSpec(
            D.float32, rows * w, 2, "zeros", (Move(0, (n, w), (0, 0), ((w, 1), (0, 1)), (lookup,), fold="add"),), True
        )
        k = int(rng.integers(1, 80))
        moves = tuple([Move(i, (n, w), (0, i * w), ((w, 1), (k * w, 1))) for i in range(k)])
        yield MovementSpec(D.float32, n * w * k, k, "", moves)
        fill = Move(-1, (n + 2, w + 2), (0, 0), ((0, 0), (w + 2, 1)), constant=0.0)
        yield MovementSpec(D.float32, (n + 2) * (w + 2), 1, "", (fill, Move(0, (n, w), (0, w + 3), ((w, 1), (w + 2, 1)))))
        yield MovementSpec(D.float32, n * w, 1, "", (Move(0, (n, w), (w - 1, 0), ((w, -1), (w, 1))),))

    made = []
    for _ in range(300):
        before = on.stats.compiled + on.stats.loaded
        for spec in sizes():
            movement_kernel(spec, on)
        made.append(on.stats.compiled + on.stats.loaded - before)
    assert sum(made) <= 60 and sum(made[150:]) <= 5
