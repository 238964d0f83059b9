"""Movements: lookups by index, pieces put together, parts written: compiled as at once, and natively."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config
from flambeau.engine import movement
from flambeau.engine import plan as plans_of
from flambeau.engine.run import run_pending
from flambeau.nn import functional as F


def tensor(*shape, dtype=torch.float32):
    values = torch.from_numpy(np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape)) * 8
    return values.to(dtype)


def places(*shape, high, low=0, dtype=torch.int64):
    return torch.from_numpy(np.random.default_rng(sum(shape)).integers(low, high, shape)).to(dtype)


def runs(monkeypatch, function, *tensors, native: bool = True):
    """The results of ``function`` at once and compiled, with nothing known beforehand; and whether that was native."""
    run_pending()
    with monkeypatch.context() as patch:
        patch.setattr(config, "eager", True)
        expected = function(*tensors)
        patch.setattr(config, "eager", False)
        patch.setattr(config, "compiled", True)
        patch.setattr(config, "compile_after", 0)
        made: list = []
        init = plans_of.Plan.__init__
        patch.setattr(plans_of.Plan, "__init__", lambda self, *given: (made.append(self), init(self, *given))[1])
        found = function(*[t + 0 if t.dtype is not torch.bool else t ^ False for t in tensors])
        run_pending()
        if native and made:
            left = [made[-1].nodes[s.node].op.name for s in made[-1].steps if not s.compiled]
            left = [name for name in left if name in movement.FORMS]
            assert not left, f"these ran by their kernels in NumPy: {left}"
    return expected, found


def check(monkeypatch, function, *tensors, native: bool = True) -> None:
    expected, found = runs(monkeypatch, function, *tensors, native=native)
    several = expected.__class__ is tuple
    for a, b in zip(expected if several else (expected,), found if several else (found,), strict=True):
        assert a.shape == b.shape and a.dtype is b.dtype
        wide = torch.complex64 if a.is_complex() else torch.float64
        assert np.array_equal(a.to(wide).numpy(), b.to(wide).numpy(), equal_nan=True)


DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int8,
    torch.bool,
    torch.complex64,
]
SUMS = [torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8]
READS = {
    "embedding": lambda x, i: F.embedding(i, x),
    "rows": lambda x, i: x[i],
    "columns": lambda x, i: x[:, i % 5],
    "both": lambda x, i: x[i, i % 5],
    "apart": lambda x, i: x.reshape(7, 5, 1)[i, :, i * 0],
    "from the end": lambda x, i: x[-1 - i],
    "of a view": lambda x, i: x.t()[i % 5],
    "index_select": lambda x, i: x.index_select(0, i.reshape(-1)),
    "index_select across": lambda x, i: x.index_select(1, i.reshape(-1) % 5),
    "index_select of a view": lambda x, i: x.t().index_select(1, i.reshape(-1)),
    "gather": lambda x, i: x.gather(0, i[:3, :4]),
    "gather across": lambda x, i: x.gather(1, i[:3] % 5),
    "take_along_dim": lambda x, i: x.take_along_dim((i[:1, :] % 7).long(), 0),
    "one number": lambda x, i: x.index_select(0, i[0, 0]),
}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_reading_by_index(monkeypatch, name, dtype):
    if dtype in (torch.bool, torch.complex64) and name not in ("rows", "gather"):
        pytest.skip("the same code")
    x = tensor(7, 5).to(dtype)
    for kind in (torch.int64, torch.int32):
        i = places(4, 5, high=7, dtype=kind)
        check(
            monkeypatch,
            READS[name],
            x,
            i,
            native=dtype is not torch.complex64 and (kind is torch.int64 or name == "rows"),
        )


WRITES = {
    "scatter": lambda x, i, y: x.scatter(0, i[:1, :5], y[:1, :5]),
    "scatter across": lambda x, i, y: x.scatter(1, torch.tensor([[3], [1], [0], [2]]) + i[:4, :1] * 0, y[:4, :1]),
    "index_copy": lambda x, i, y: x.index_copy(0, torch.tensor([6, 2, 0, 3]) + i[:, 0] * 0, y),
    "index_put": lambda x, i, y: x.index_put((torch.tensor([6, 2, 0, 3]) + i[:, 0] * 0,), y),
    "assigned": lambda x, i, y: assigned(x, torch.tensor([6, 2, 0, 3]) + i[:, 0] * 0, y),
}
ADDS = {
    "scatter_add": lambda x, i, y: x.scatter_add(0, i, y),
    "scatter_add across": lambda x, i, y: x.scatter_add(1, i % 5, y),
    "index_add": lambda x, i, y: x.index_add(0, i[:, 0], y),
    "index_add across": lambda x, i, y: x.index_add(1, i[:, 0] % 5, y.repeat(2, 1)[:7, :4].contiguous()),
    "index_add of a multiple": lambda x, i, y: x.index_add(0, i[:, 0], y, alpha=2),
    "index_put": lambda x, i, y: x.index_put((i[:, 0] - 7,), y, accumulate=True),
    "onto views": lambda x, i, y: (
        x.t().index_add(1, i[:, 0], y.t()),
        x.t().scatter_add(1, i.t(), y.t()),
        x.t().index_put((i[0] % 5, i[1]), y[0], True),
    ),
    "index_put twice": lambda x, i, y: x.index_put((i, i % 5), y, accumulate=True),
}


def assigned(x, i, y):
    x = x.clone()
    x[i] = y
    return x


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, torch.bool])
def test_writing_by_index(monkeypatch, name, dtype):
    check(monkeypatch, WRITES[name], tensor(7, 5).to(dtype), places(4, 5, high=7), tensor(4, 5).to(dtype))


@pytest.mark.parametrize("name", ADDS)
@pytest.mark.parametrize("dtype", SUMS)
def test_adding_by_index(monkeypatch, name, dtype):
    check(monkeypatch, ADDS[name], tensor(7, 5).to(dtype), places(4, 5, high=7), tensor(4, 5).to(dtype))


@pytest.mark.parametrize("width", [1, 3, 16, 33])
@pytest.mark.parametrize("padding", [None, 2])
def test_gradients_of_embeddings(monkeypatch, width, padding):
    def program(weight, i, g):
        weight = weight.detach().requires_grad_()
        (F.embedding(i, weight, padding_idx=padding) * g).sum().backward()
        return weight.grad

    check(monkeypatch, program, tensor(7, width), places(4, 5, high=7), tensor(4, 5, width))


MOVES = {
    "cat": lambda x, y: torch.cat((x, y, x)),
    "cat across": lambda x, y: torch.cat((x, y.t().contiguous().t(), x), 1),
    "cat of views": lambda x, y: torch.cat((x.t(), y.t()[:2]), 0),
    "stack": lambda x, y: torch.stack((x, y), -1),
    "flip": lambda x, y: (x.flip(0), y.flip((0, 1)), x.t().flip(1)),
    "roll": lambda x, y: (x.roll(3), x.roll((1, -2), (0, 1)), y.t().roll(2, 0), x.roll((1, 1), (0, 0))),
    "a part written": lambda x, y: written(x, y),
    "a column of another": lambda x, y: column(x, y),
}


PADS = [(1, 2), (3, 0, 1, 2), (0, 1), (2, 2, 3, 3)]


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("pad", PADS)
def test_padding(monkeypatch, mode, pad):
    def program(x, g):
        x = x.detach().requires_grad_()
        y = F.pad(x, pad, mode, *([2.5] if mode == "constant" else []))
        (y[..., :4] * y[..., :4]).sum().backward()
        return y.detach(), x.grad

    x = tensor(2, 3, 5, 4).round()  # sums of whole numbers are exact in any order
    check(monkeypatch, program, x[0] if len(pad) < 4 else x, tensor(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.int8, torch.bool, torch.uint8])
def test_numbers_written(monkeypatch, dtype):
    def program(x, i):
        number = 0.5 if dtype is torch.bool else 3
        y = x.scatter(1, i[:, :1] % 5, number)
        return y, x.index_fill(0, i[:, 1], number), F.pad(x, (1, -2, 0, 3), value=number), F.one_hot(i, 9)

    check(monkeypatch, program, tensor(7, 5).to(dtype), places(4, 5, high=7))


def test_cropping(monkeypatch):
    check(monkeypatch, lambda x: (F.pad(x, (-1, -2)), F.pad(x, (-1, 1, 2, -3), value=float("nan"))), tensor(7, 5))


def written(x, y):
    x = x.clone()
    x[1:3, ::2] = y[:2, :3]
    x[:, 0] = 7
    return x


def column(x, y):
    x, y = x.clone(), y.clone()
    x[:, 1] = y[:, 3]
    y[2:] = y[:-2].clone()
    return x, y


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_moves(monkeypatch, name, dtype):
    check(monkeypatch, MOVES[name], tensor(7, 5).to(dtype), tensor(7, 5).to(dtype), native=dtype is not torch.complex64)


def test_gradients_of_parts(monkeypatch):
    def program(x, y):
        x = x.detach().requires_grad_()
        parts = x.chunk(3, 0)
        total = (parts[0] * y[:3]).sum() + (parts[2] ** 2).sum() + x[2:5, 1::2].sum() + x.select(1, 3).sum()
        total = total + x.diagonal().prod() + (x.unfold(0, 3, 1) * 2).sum() + (F.pad(x, (1, 2)) ** 2).sum()
        total.backward()
        return x.grad

    expected, found = runs(monkeypatch, program, tensor(7, 5) / 8, tensor(7, 5), native=False)
    assert torch.allclose(expected, found, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("wrong", [7, -1, 1 << 40, -(1 << 40)])
@pytest.mark.parametrize(
    "name",
    ["embedding", "gather", "index_select", "rows", "scatter_add", "index_add", "index_put", "scatter", "index_copy"],
)
def test_indices_out_of_range(monkeypatch, name, wrong):
    function = {**READS, **WRITES, **ADDS}[name]
    if name in ("rows", "index_put") and wrong == -1:  # they count from the end
        wrong = -8
    if name == "index_put" and wrong == 7:
        wrong = 14
    kept = tensor(7, 5)

    def program(x, i, *rest):
        i = i.clone()
        i[0, 0] = wrong
        before = x * 2
        kept.add_(1)
        try:
            if name == "index_copy":
                result = before.index_copy(0, i[:, 0], rest[0])
            else:
                result = function(before, i, *rest)
            result.sum().item()
        except (IndexError, RuntimeError) as error:
            return type(error), str(error), before.tolist()
        raise AssertionError("not refused")

    values = (tensor(7, 5), places(4, 5, high=7), *([tensor(4, 5)] if name not in READS else []))
    expected, found = runs(monkeypatch, program, *values, native=False)
    assert expected == found
    assert kept.tolist() == (tensor(7, 5) + 2).tolist()


def test_an_update_by_index_stays_in_its_memory(monkeypatch):
    monkeypatch.setattr(config, "compiled", True)
    monkeypatch.setattr(config, "compile_after", 0)
    table, i, y = torch.zeros(7, 5), places(4, high=7) + 0, tensor(4, 5)
    run_pending()
    address = table.data_ptr()
    want = np.zeros((7, 5), np.float32)
    for _ in range(3):
        table.index_add_(0, i + 0, y * 1)
        table[2:4] = table[0:2] + 1
        run_pending()
        np.add.at(want, i.numpy(), y.numpy())
        want[2:4] = want[0:2] + 1
    assert table.data_ptr() == address
    assert np.array_equal(table.numpy(), want)


@pytest.mark.parametrize("level", ["", "avx2", "generic"])
def test_large_moves_on_every_machine(level):
    from flambeau.core import dtypes
    from flambeau.engine.cpu.compiler import LEVELS, Session, session
    from flambeau.engine.cpu.movement import movement_kernel
    from flambeau.engine.cpu.specs import Lookup, Move, MovementSpec

    def call(made, *arrays):
        address, words = made
        arguments = (ctypes.c_int64 * (len(arrays) + len(words)))(*[a.ctypes.data for a in arrays], *words)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(arguments))

    on = Session(LEVELS[level]) if level else session()
    x = np.random.default_rng(0).standard_normal((900, 700)).astype(np.float32)
    i = np.random.default_rng(0).integers(-900, 900, 1500)
    out = np.empty((1500, 700), np.float32)
    lookup = Lookup(1, dtypes.int64, (1, 0), 900, 700, True)
    move = Move(0, out.shape, (0, 0), ((0, 1), (700, 1)), (lookup,), reads=True)
    call(movement_kernel(MovementSpec(dtypes.float32, out.size, 2, "", (move,)), on), x, i, out)
    assert np.array_equal(out, x[i])
    flat = np.empty((700, 900), np.float32)
    move = Move(0, flat.shape, (0, 0), ((1, 700), (900, 1)))
    call(movement_kernel(MovementSpec(dtypes.float32, flat.size, 1, "", (move,)), on), x, flat)
    assert np.array_equal(flat, x.T)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8"])
@pytest.mark.parametrize("reduce", ["sum", "mean", "amax", "amin", "prod"])
@pytest.mark.parametrize("shape, count, dim", [((6, 5), 9, 0), ((5, 6), 9, 1), ((40, 33), 60, 0)])
@pytest.mark.parametrize("include_self", [False, True])
@pytest.mark.parametrize("rows", [False, True])
def test_scatter_reduce(dtype, reduce, shape, count, dim, include_self, rows):
    """The interpreter and plans agree, whether the index is one for whole rows or not; what is not hit stays."""
    rng = np.random.default_rng(0)
    given = (count, shape[1]) if dim == 0 else (shape[0], count)
    base, source = ((rng.standard_normal(s) * 9).astype(dtype) for s in (shape, given))
    index = torch.tensor(rng.integers(0, shape[dim], given))
    if rows:
        index = index.narrow(1 - dim, 0, 1).expand(given)

    def program() -> np.ndarray:
        return (torch.tensor(base) * 1).scatter_reduce(dim, index, torch.tensor(source), reduce, include_self=include_self).numpy()

    before = config.compiled, config.compile_after
    try:
        config.compiled, config.compile_after = False, 0
        expected = program()
        config.compiled = True
        found = program()
    finally:
        config.compiled, config.compile_after = before
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "shape", [(1,), (3,), (15,), (16,), (17,), (33,), (65,), (3, 5), (3, 17), (2, 3, 64), (5, 1), (9, 130), (70000,)], ids=str
)
def test_reading_backwards(monkeypatch, shape, dtype):
    x = (torch.arange(int(np.prod(shape))) % 251).reshape(shape).to(dtype)
    check(
        monkeypatch,
        lambda x: (
            x.flip(-1),
            x.flip(0),
            x.flip(list(range(x.dim()))),
            x.transpose(0, -1).flip(0),
            x[..., x.shape[-1] // 2 :].flip(-1),
        ),
        x,
    )
