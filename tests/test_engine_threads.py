"""Large loops on several threads: the same bits as on one, from several Python threads at once, and after a fork."""

from __future__ import annotations

import ctypes
import os
import threading

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from flambeau.core import config
from flambeau.core import dtypes as D
from flambeau.engine.cpu import compiler, threads
from flambeau.engine.cpu.codegen import loop_ir, loop_kernel
from flambeau.engine.loops import Access, Instr, Loop

f32 = D.float32


@pytest.fixture
def team():
    yield threads.resize
    threads.resize(config.num_threads)


def call(loop, *arrays):
    block = (ctypes.c_void_p * (len(arrays) + 1))(*(a.ctypes.data for a in arrays), 0)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loop_kernel(loop))(ctypes.addressof(block))


def access(*strides):
    return Access(f32, strides)


X = Instr("input", f32, (), 0)

LOOPS = {
    "map": (Loop((1_000_003,), 0, (access(1),), (), (X, Instr("exp", f32, (0,))), ((1, access(1)),)), 1_000_003),
    "rows": (
        Loop((700, 513), 1, (access(513, 1),), (), (X, Instr("max", f32, (0,)), Instr("sub", f32, (0, 1)),
             Instr("exp", f32, (2,)), Instr("sum", f32, (3,)), Instr("div", f32, (3, 4))), ((5, access(513, 1)),)),
        700 * 513,
    ),
    "columns": (
        Loop((400, 1003), -1, (access(1003, 1),), (), (X, Instr("sum", f32, (0,))), ((1, access(0, 1)),)), 1003,
    ),
    "transposed": (Loop((1003, 517), 0, (access(1, 1003),), (), (X,), ((0, access(517, 1)),)), 1003 * 517),
    "long sum": (Loop((1_000_003,), 1, (access(1),), (), (X, Instr("sum", f32, (0,))), ((1, access(0)),)), 1),
    "long sum of squares, stored": (
        Loop((1003, 997), 2, (access(997, 1),), (), (X, Instr("mul", f32, (0, 0)), Instr("sum", f32, (1,)),
             Instr("max", f32, (0,)), Instr("add", f32, (2, 3))), ((4, access(0, 0)), (1, access(997, 1)))),
        1003 * 997,
    ),
    "few rows": (Loop((3, 300_007), 1, (access(300_007, 1),), (), (X, Instr("sum", f32, (0,))), ((1, access(1, 0)),)), 3),
    "blocks of rows": (
        Loop((11, 64, 513), 1, (access(64 * 513, 513, 1),), (), (X, Instr("max", f32, (0,)), Instr("sub", f32, (0, 1)),
             Instr("total", f32, (2,)), Instr("total", f32, (0,))), ((3, access(513, 0, 1)), (4, access(513, 0, 1))), 1),
        11 * 513,
    ),
    "blocks of long rows": (
        Loop((2, 8, 70_001), 1, (access(560_008, 70_001, 1),), (), (X, Instr("sum", f32, (0,)), Instr("total", f32, (0,))),
             ((2, access(70_001, 0, 1)), (1, access(8, 1, 0))), 1),
        2 * 70_001,
    ),
    "few columns": (Loop((30_011, 50), -1, (access(50, 1),), (), (X, Instr("sum", f32, (0,))), ((1, access(0, 1)),)), 50),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_same_bits(team, name):
    loop, size = LOOPS[name]
    assert threads.ENTRY in loop_ir(loop, compiler.session().machine, "kernel"), "the loop is not divided"
    x = np.random.default_rng(0).standard_normal(np.prod(loop.shape)).astype(np.float32)
    results = []
    for count in (1, 2, 3):
        team(count)
        for _ in range(3):
            outputs = [np.full(x.size, -1.0, np.float32) for _ in loop.outputs]
            call(loop, x, *outputs)
            results.append(outputs)
    for outputs in results[1:]:
        for a, b in zip(outputs, results[0]):
            np.testing.assert_array_equal(a, b)
    exact = x.astype(np.float64).reshape(loop.shape)
    got = results[0][0]
    if name == "map":
        np.testing.assert_allclose(got, np.exp(exact), rtol=2e-7)
    elif name == "rows":
        e = np.exp(exact - exact.max(1, keepdims=True))
        np.testing.assert_allclose(got.reshape(loop.shape), e / e.sum(1, keepdims=True), rtol=1e-6)
    elif name == "transposed":
        np.testing.assert_array_equal(got[:size].reshape(loop.shape), x.reshape(517, 1003).T)
    elif name == "blocks of rows":
        np.testing.assert_allclose(got[:size].reshape(11, 513), (exact - exact.max(2, keepdims=True)).sum(1), rtol=1e-5)
    elif name == "blocks of long rows":
        np.testing.assert_allclose(got[:size].reshape(2, 70_001), exact.sum(1), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(results[0][1][:16].reshape(2, 8), exact.sum(2), rtol=1e-5, atol=1e-2)
    elif name == "long sum of squares, stored":
        np.testing.assert_allclose(got[0], (exact**2).sum() + exact.max(), rtol=1e-6)
        np.testing.assert_array_equal(results[0][1], x * x)
    else:
        axis = 0 if loop.reduce < 0 else -1
        np.testing.assert_allclose(got[:size], exact.sum(axis).ravel(), rtol=1e-5, atol=2e-7 * np.abs(exact).sum(axis).max())
    assert (got[size:] == -1).all()


def test_python_threads_at_once(team):
    """The pool serves one at a time; the others do their work themselves."""
    team(2)
    loop, _ = LOOPS["map"]
    loop_kernel(loop)
    arrays = [np.full(1_000_003, k, np.float32) for k in range(4)]
    outputs = [np.empty_like(a) for a in arrays]

    def work(k):
        for _ in range(5):
            call(loop, arrays[k], outputs[k])

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for k, output in enumerate(outputs):
        np.testing.assert_allclose(output, np.exp(np.float64(k)), rtol=2e-7)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork(team):
    team(2)
    loop, _ = LOOPS["map"]
    x, y = np.zeros(1_000_003, np.float32), np.zeros(1_000_003, np.float32)
    for _ in range(3):
        call(loop, x, y)
    child = os.fork()
    if child == 0:
        y[:] = 0
        for _ in range(3):
            call(loop, x, y)
        os._exit(0 if (y == 1).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    call(loop, x, y)
    assert (y == 1).all()


def test_short_loops_wake_nobody(team):
    """Loops that are over sooner than a sleeping thread is awake are divided among those that are awake."""
    n = 65_537
    loop = Loop((n,), 0, (access(1),), (), (X, Instr("sqrt", f32, (0,))), ((1, access(1)),))
    ir = loop_ir(loop, compiler.session().machine, "kernel")
    assert threads.LIGHT_ENTRY in ir
    x = np.random.default_rng(0).random(n).astype(np.float32)
    for count in (1, 2, 3):
        team(count)
        for _ in range(50):
            out = np.full(n, -1.0, np.float32)
            call(loop, x, out)
            np.testing.assert_array_equal(out, np.sqrt(x))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs os.sched_getaffinity")
def test_helping_does_not_change_where_this_thread_may_run(team):
    before = os.sched_getaffinity(0)
    team(3)
    loop, size = LOOPS["map"]
    x = np.zeros(size, np.float32)
    for _ in range(20):
        call(loop, x, np.empty_like(x))
    assert os.sched_getaffinity(0) == before
