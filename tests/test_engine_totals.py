"""Sums of columns that begin in a loop over rows: its totals against NumPy, and what the grouper makes of it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")
pytest.importorskip("hypothesis")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import flambeau as torch  # noqa: E402
from flambeau.core import config  # noqa: E402
from flambeau.core import dtypes as D  # noqa: E402
from flambeau.engine import plans  # noqa: E402
from flambeau.engine.cpu import threads  # noqa: E402
from flambeau.engine.execution import Execution  # noqa: E402
from flambeau.engine.grouping import BLOCK  # noqa: E402
from flambeau.engine.loops import Access, Instr, Loop, verify  # noqa: E402
from flambeau.engine.plan import Plan  # noqa: E402
from flambeau.engine.run import run_pending  # noqa: E402
from flambeau.engine.shapes import collapse  # noqa: E402
from flambeau.nn import functional as F  # noqa: E402
from tests.test_engine_loops import MACHINES, Body, call, check, contiguous, room, session_of  # noqa: E402


def totals(shape, block, reduce, flipped: bool) -> tuple[int, ...]:
    """Strides of the totals: contiguous, or in the opposite order."""
    one = [1 if len(shape) - reduce - block <= d < len(shape) - reduce else n for d, n in enumerate(shape)]
    strides = tuple(reversed(contiguous(one[::-1]))) if flipped else contiguous(one)
    return tuple([0 if n != m else s for n, m, s in zip(shape, one, strides)])


@st.composite
def loops(draw):
    """Rows that are normalised, and totals of what is read, of what is stored, of one value a row, of integers."""
    rank = draw(st.integers(2, 4))
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 7, 8, 16, 33, 65, 130]), min_size=rank, max_size=rank)))
    while np.prod(shape) > 40_000:
        shape = tuple([max(1, n // 2) for n in shape])
    reduce = draw(st.integers(1, rank - 1))
    block = draw(st.integers(1, rank - reduce))
    dtype = draw(st.sampled_from([D.float32, D.float64, D.float16, D.bfloat16]))
    wide = D.float64 if dtype is D.float64 else D.float32
    column = tuple([s if d >= rank - reduce else 0 for d, s in enumerate(contiguous(shape))])
    full, flipped = contiguous(shape), tuple(reversed(contiguous(shape[::-1])))
    inputs = (
        Access(dtype, draw(st.sampled_from([full, full, flipped]))),
        Access(wide, draw(st.sampled_from([full, column]))),
        Access(D.int32, full),
    )
    b = Body()
    x, y, k = (b("input", dtype=a.dtype, const=n) for n, a in enumerate(inputs))
    x = b("cast", x, dtype=wide) if wide is not dtype else x
    centred = b("sub", x, b("max", x))
    product = b("mul", centred, y)
    mean = b("div", b("sum", product), b("const", dtype=wide, const=float(np.prod(shape[rank - reduce :]))))
    result = b("add", product, mean)
    ints = b("cast", k, dtype=D.int64)
    candidates = [x, product, result, mean, ints]
    chosen = draw(st.lists(st.sampled_from(candidates), min_size=1, max_size=4))
    outputs = []
    for value in chosen:
        total = b("total", value)
        strides = totals(shape, block, reduce, draw(st.booleans()))
        outputs.append((total, Access(b.instrs[total].dtype, strides)))
    if draw(st.booleans()):
        outputs.append((result, Access(wide, full)))
    return Loop(shape, reduce, inputs, (), tuple(b.instrs), tuple(outputs), block)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m or "host")
@given(loop=loops(), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_totals(machine, loop, seed):
    rng = np.random.default_rng(seed)
    arrays = [
        rng.integers(-(2**31), 2**31, room(loop.shape, a)).astype(np.int32)
        if a.dtype is D.int32
        else rng.standard_normal(room(loop.shape, a)).astype(a.dtype.np)
        for a in loop.inputs
    ]
    size = float(np.prod([loop.shape[d] for d in loop.blocked]))
    rtol, atol = (1e-5, 1e-5 * size) if loop.inputs[1].dtype is D.float32 else (1e-12, 1e-12 * size)
    check(loop, arrays, session=session_of(machine), rtol=rtol, atol=atol)
    simple = collapse(loop)
    verify(simple)
    check(simple, arrays, session=session_of(machine), rtol=rtol, atol=atol)


def test_a_total_begins_with_zero():
    """Whatever was in its memory; the sum of -0.0 is 0.0, as with sums."""
    b = Body()
    x = b("input", dtype=D.float32, const=0)
    total = b("total", x)
    for rows in (1, 5):
        inputs = (Access(D.float32, (20 * rows, 20, 1)),)
        loop = Loop((3, rows, 20), 1, inputs, (), tuple(b.instrs), ((total, Access(D.float32, (20, 0, 1))),), 1)
        out = np.full(60, np.nan, np.float32)
        call(loop, [np.full(60 * rows, -0.0, np.float32)], [out], (), session_of(""))
        assert (out == 0).all() and not np.signbit(out).any()


f32, boolean = D.float32, D.bool
X = Instr("input", f32, (), 0)
R, T, H = Access(f32, (4, 1)), Access(f32, (0, 1)), Access(f32, (12, 4, 1))  # rows, their total, blocks of rows
B, BT = Access(boolean, (4, 1)), Access(boolean, (0, 1))
TOTAL = Instr("total", f32, (0,))

BROKEN = [
    (Loop((3, 4), 1, (R,), (), (X, TOTAL), ((1, T),)), "a total in a loop without blocks"),
    (Loop((3, 4), -1, (R,), (), (X, TOTAL), ((1, T),), 1), "block = 1 is out of range"),
    (Loop((3, 4), 1, (R,), (), (X, TOTAL), ((1, T),), 2), "block = 2 is out of range"),
    (Loop((0, 4), 1, (R,), (), (X, TOTAL), ((1, T),), 1), "a block of no rows"),
    (Loop((3, 4), 1, (R,), (), (X, TOTAL, Instr("neg", f32, (1,))), ((2, T),), 1), "not known before the loop is over"),
    (Loop((3, 4), 1, (R,), (), (X, TOTAL), ((1, R),), 1), "many places for one total"),
    (Loop((3, 4), 1, (R,), (), (X, TOTAL), ((1, Access(f32, (0, 0))),), 1), "writes many values to one place"),
    (Loop((2, 3, 4), 1, (H,), (), (X, TOTAL), ((1, Access(f32, (0, 0, 1))),), 1), "writes many values to one place"),
    (Loop((3, 4), 1, (R,), (), (X, TOTAL), ((0, T),), 1), "writes many values to one place"),
    (Loop((3, 4), 1, (B,), (), (Instr("input", boolean, (), 0), Instr("total", boolean, (0,))), ((1, BT),), 1), "does not compute"),
]


@pytest.mark.parametrize("loop, message", BROKEN, ids=lambda v: v if isinstance(v, str) else "")
def test_verifier(loop, message):
    with pytest.raises(ValueError, match=message):
        verify(loop)


def test_text_tells_blocks_apart():
    loop = Loop((2, 3, 4), 1, (H,), (), (X, TOTAL), ((1, Access(f32, (4, 0, 1))),), 1)
    verify(loop)
    assert str(loop).startswith("loop (2, 3, 4) reduce 1 block 1 scalars ()")
    assert "block" not in str(loop._replace(block=0))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 0), (0, 3, 0)], ids=str)
def test_empty(shape):
    """Nothing is written where there are no columns or no blocks, but for one value a row."""
    b = Body()
    x = b("input", dtype=f32, const=0)
    row, total = b("sum", x), b("total", x)
    places = Access(f32, (4, 0, 1))
    loop = Loop(
        shape,
        1,
        (Access(f32, (3 * shape[2], shape[2], 1)),),
        (),
        tuple(b.instrs),
        ((total, places), (row, Access(f32, (3, 1, 0)))),
        1,
    )
    check(loop, [np.ones(1, np.float32)])


# --- what the grouper makes of it ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    run_pending()
    monkeypatch.setattr(config, "compile_after", 0)
    yield
    run_pending()


def made() -> list:
    """The groups that make totals, in the plans made so far."""
    return [g for p in plans.plans.values() if isinstance(p, Plan) for g in p.groups if g.totals]


def plan_of(group) -> Plan:
    return next(p for p in plans.plans.values() if isinstance(p, Plan) and group in p.groups)


def compiled(function, monkeypatch) -> list:
    monkeypatch.setattr(config, "compiled", True)
    plans.plans.clear()
    results = function()
    run_pending()
    return [np.array(t.double().numpy()) for t in results]


def normalised(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@given(
    rows=st.sampled_from([(16,), (17,), (64,), (100,), (1021,), (1600,), (4, 4), (3, 50), (16, 9), (2, 3, 40)]),
    length=st.sampled_from([1, 2, 3, 15, 16, 33, 70, 128, 257]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    seed=st.integers(0, 100),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_sums_of_columns(rows, length, dtype, seed):
    """Of softmax and its products, beside the rows or not, stored or not, over all rows or some."""
    rng = np.random.default_rng(seed)
    a, c = rng.standard_normal((*rows, length)), rng.standard_normal(length)
    x, w = torch.tensor(a).to(dtype), torch.tensor(c).to(dtype)
    exact, weight = np.array(x.double().numpy()), np.array(w.double().numpy())
    every = tuple(range(len(rows)))

    def program():
        y = x.softmax(-1)
        z = y * w + x
        return z.sum(every), y, (y * y).sum(every), x.sum(every), z.sum(every[-1], keepdim=True), z.sum(0), z.sum()

    with pytest.MonkeyPatch.context() as patch:
        got = compiled(program, patch)
    y = normalised(exact)
    z = y * weight + exact
    want = [z.sum(every), y, (y * y).sum(every), exact.sum(every), z.sum(every[-1], keepdims=True), z.sum(0), z.sum()]
    rounding = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 2**-9, torch.bfloat16: 2**-6}[dtype]
    for g, e in zip(got, want, strict=True):
        np.testing.assert_allclose(g, e, rtol=rounding, atol=rounding * max(1, np.prod(rows) ** 0.5) * 8)


def test_what_is_summed_is_not_written(monkeypatch):
    x, g = torch.randn(96, 40), torch.randn(96, 40)

    def program():
        y = F.layer_norm(x.softmax(-1), (40,))
        return (y * g).sum(0), g.sum(0), y.exp().sum(0)

    compiled(program, monkeypatch)
    (group,) = made()
    assert len(group.totals) == 3 and [group.shape[d] for d in group.block] == [8]
    assert group.totals == plan_of(group).in_memory.intersection(group.members)


def test_the_gradients_of_a_layer_norm_are_one_loop(monkeypatch):
    """Rows and columns of what comes from memory: the columns join the rows, and only blocks of them are left to be added."""
    x, w, b = torch.randn(256, 40), torch.randn(40), torch.randn(40)
    g = torch.randn(256, 40)

    def program():
        leaves = [t.clone().requires_grad_() for t in (x, w, b)]
        y = F.layer_norm(leaves[0], (40,), *leaves[1:])
        run_pending()
        return torch.autograd.grad(y, leaves, g)

    got = compiled(program, monkeypatch)
    (group,) = made()
    assert len(group.totals) == 2
    monkeypatch.setattr(config, "compiled", False)
    for a, e in zip(got, program(), strict=True):
        np.testing.assert_allclose(a, e.numpy(), rtol=1e-5, atol=1e-4)


def test_blocks_do_not_depend_on_threads(monkeypatch):
    x, w = torch.randn(1000, 300), torch.randn(300)

    def program():
        y = x.softmax(-1) * w
        return y.sum(0), (y * y).sum(0), y.sum(-1)

    try:
        results = []
        for count in (1, 2, 3):
            threads.resize(count)
            results += [compiled(program, monkeypatch) for _ in range(3)]
    finally:
        threads.resize(config.num_threads)
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_sums_of_many_rows_are_accurate(monkeypatch):
    """All numbers have one sign: a sum one after the other would be off by far more."""
    x = torch.rand(64 * 997, 8)
    total, _ = compiled(lambda: ((x - x.amax(-1, keepdim=True)).abs().sum(0), x.amax(-1)), monkeypatch)
    assert made()
    a = np.array(x.numpy())
    exact = np.abs(a - a.max(-1, keepdims=True)).astype(np.float64).sum(0)
    np.testing.assert_allclose(total, exact, rtol=4 * 2.0**-24)


@pytest.mark.parametrize("rows, size", [(15, None), (16, 8), (1021, None), (1024, 64), (300, 15), (128, 8), (998, None)])
def test_sizes_of_blocks(rows, size, monkeypatch):
    """Equal ones, of as many rows as is good; where there is no such number, sums are loops of their own."""
    x = torch.randn(rows, 24)
    compiled(lambda: (x.softmax(-1).sum(0),), monkeypatch)
    assert [group.shape[d] for group in made() for d in group.block] == ([] if size is None else [size])
    assert size is None or BLOCK[1] <= size <= BLOCK[0]


def test_long_rows_are_summed_apart(monkeypatch):
    """Their totals would not stay in the cache."""
    compiled(lambda: (torch.randn(16, 40_000).softmax(-1).sum(0),), monkeypatch)
    assert not made()


def test_columns_of_a_transposed_matrix_stay_apart(monkeypatch):
    """Vectors run across its rows."""
    x = torch.randn(24, 640).t()
    compiled(lambda: (x.softmax(-1).sum(0),), monkeypatch)
    assert not made()


def test_later_readers_may_split_a_block(monkeypatch):
    """What joins a loop may walk its rows by more dims than it did."""
    x, g = torch.randn(1024, 48), torch.randn(4, 1, 48)

    def program():
        y = x.softmax(-1)
        total = y.sum(0)
        return total, y.view(64, 4, 4, 48) * g

    got = compiled(program, monkeypatch)
    y = normalised(np.array(x.double().numpy()))
    np.testing.assert_allclose(got[0], y.sum(0), rtol=1e-5)
    np.testing.assert_allclose(got[1], y.reshape(64, 4, 4, 48) * np.array(g.double().numpy()), rtol=1e-5, atol=1e-6)
    (group,) = made()
    assert len(group.block) > 1 and sum(g.size == group.size for g in plan_of(group).groups) == 1


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("shape, dim", [((16, 32, 64), 1), ((3, 16, 33), 1), ((2, 3, 8, 40), 2), ((32, 64), 0)])
def test_a_block_that_is_all_there_is_to_add(shape, dim, keepdim, monkeypatch):
    """Nothing is left to be done behind the totals, and nothing of it by NumPy."""
    monkeypatch.setattr(config, "compile_after", 0)
    monkeypatch.setattr(config, "compiled", True)
    computed = []
    compute = Execution._compute
    monkeypatch.setattr(Execution, "_compute", lambda self, i: (computed.append(self.plan.nodes[i].op.name), compute(self, i))[1])
    torch.manual_seed(0)
    x = torch.randn(shape)
    misses = torch.engine_stats()["misses"]
    y = torch.nn.functional.layer_norm(x, shape[-1:])
    got, total = y.mean(dim, keepdim=keepdim), y.sum(dim, keepdim=keepdim)
    wide = x.numpy().astype(np.float64)
    standard = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(got.numpy(), standard.mean(dim, keepdims=keepdim), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(total.numpy(), standard.sum(dim, keepdims=keepdim), rtol=1e-5, atol=1e-5)
    assert not computed and torch.engine_stats()["misses"] == misses
