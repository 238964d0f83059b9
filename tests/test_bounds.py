"""Native code stays inside of what it is given: guard pages, chains of views and indices, gradients of lookups that failed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config
from flambeau.engine import plans
from flambeau.nn import functional as F
from tests.lateness import look_late

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is mapped as on Linux")


def guarded(program: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", program], env=os.environ | {"FLAMBEAU_GUARD": "1"}, capture_output=True, text=True)


# --- the mode itself -----------------------------------------------------------------------------------------

OUTSIDE = """
import ctypes
import flambeau as torch
x = torch.ones({count}, dtype=torch.{dtype})
ctypes.{access}
print("survived")
del x
print("survived that it was given back")
"""


@linux
@pytest.mark.parametrize("count, dtype", [(1, "int8"), (3, "float32"), (4096, "uint8"), (1000, "float64")])
def test_what_touches_memory_outside_dies(count, dtype):
    """Behind an array or before it, whichever side the page ends at; a write into what is left of a page is found in the end."""
    size = count * torch.tensor([], dtype=getattr(torch, dtype)).element_size()
    for place in (f"x.data_ptr() + {size}", "x.data_ptr() - 1"):
        done = guarded(OUTSIDE.format(count=count, dtype=dtype, access=f"memset({place}, 0, 1)"))
        assert done.returncode != 0 and "given back" not in done.stdout, (place, done)
    within = f"memset(x.data_ptr(), 0, {size})"
    done = guarded(OUTSIDE.format(count=count, dtype=dtype, access=within))
    assert done.returncode == 0 and "given back" in done.stdout, done


@linux
def test_kernels_run_beside_guard_pages():
    """Buffers, results and intermediate values all have pages of their own."""
    done = guarded(
        """
import numpy as np
import flambeau as torch
from flambeau.engine import plans
from flambeau.engine.plan import address_of
assert np._core.multiarray.get_handler_name(np.ones(3)) == "guard"
w = torch.randn(37, 19, requires_grad=True)
for _ in range(4):
    y = (torch.ones(5, 37) @ w).relu().softmax(-1).sum() * 2
    y.backward()
    with torch.no_grad():
        w -= w.grad
    w.grad = None
    y.item()
(plan,) = [p for p in plans.plans.values() if len(p.static) > 3]
first = {address_of(cell) >> 12 for cell in plan.cells.values()}
assert len(first) == len(plan.cells) > 1
"""
    )
    assert done.returncode == 0, done.stderr


# --- geometry ------------------------------------------------------------------------------------------------

REFUSED = [
    (lambda x: x.expand(-6), "numel: integer multiplication overflow"),
    (lambda x: x.expand(2, -3), "numel: integer multiplication overflow"),
    (lambda x: x[:1].expand(2**62, 2), "numel: integer multiplication overflow"),
    (lambda x: x.as_strided((-6,), (1,)), "Storage size calculation overflowed"),
    (lambda x: x.as_strided((2,), (1,), -1), "Tensor: invalid storage offset -1"),
    (lambda x: x.as_strided((0,), (1,), -1), "Tensor: invalid storage offset -1"),
    (lambda x: x.as_strided((2**62,), (1,)), "out of bounds for storage"),
    (lambda x: x.as_strided((2,), (2**62,)), "out of bounds for storage"),
    (lambda x: x[0].unfold(0, 1000, 1), "maximum size for tensor at dimension 0 is 1 but size is 1000"),
    (lambda x: x.unfold(0, -1, 1), "size is -1 but must be >= 0"),
    (lambda x: x[0].unfold(0, 1, 0), "step is 0 but must be > 0"),
    (lambda x: x.narrow(0, 0, -1), r"length must be non-negative"),
    (lambda x: x.split([2, -1]), "non-negative entries"),
    (lambda x: x.view(-2, 1), "invalid shape dimension -2"),
    (lambda x: x.select_scatter(torch.ones(2), 0, 0), "expected src to have a size equal to the slice of self"),
    (lambda x: x.slice_scatter(torch.ones(2), 0, 5, 1), "expected src to have a size equal to the slice of self"),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_geometry_is_refused_at_the_call(case):
    call, message = REFUSED[case]
    for _ in range(3):
        with pytest.raises(RuntimeError, match=message):
            call(torch.ones(1))


FURTHEST = 2**63 - 1
LONG_STEPS = {
    "unfold": (lambda x: x.unfold(0, 1, FURTHEST), (1, 1), (1, 1)),
    "row": (lambda x: x.as_strided((1, 3), (FURTHEST, 1)), (1, 3), (3, 1)),
    "column": (lambda x: x.as_strided((3, 1), (1, FURTHEST)), (3, 1), (1, 1)),
    "one": (lambda x: x.as_strided((1,), (FURTHEST,)), (1,), (1,)),
    "apart": (lambda x: x.as_strided((1, 2, 3), (FURTHEST, 1, 2)), (1, 2, 3), (9, 1, 2)),
    "many": (lambda x: x.as_strided((2, 1, 300), (1, FURTHEST, 1)), (2, 1, 300), (1, 1, 1)),
}
READERS = {
    "sum": lambda v: v.sum(), "add": lambda v: v + 1, "clone": lambda v: v.clone(), "item": lambda v: v.reshape(-1)[-1],
    "contiguous": lambda v: v.contiguous(), "stack": lambda v: torch.stack([v, v]), "numpy": lambda v: torch.tensor(v.numpy().copy()),
    "cast": lambda v: v.double(), "flip": lambda v: v.flip(0), "select": lambda v: v.select(0, 0) * 2, "list": lambda v: torch.tensor(v.tolist()),
}  # fmt: skip


@pytest.mark.parametrize("eager", [False, True], ids=["lazy", "immediate"])
@pytest.mark.parametrize("name", LONG_STEPS)
def test_the_step_along_a_dim_of_one_element_may_be_anything(monkeypatch, name, eager):
    monkeypatch.setattr(config, "eager", eager)
    far, shape, near = LONG_STEPS[name]
    for reader in READERS.values():
        for _ in range(3):
            x = torch.arange(400.0) * 1
            x.tolist()
            assert reader(far(x)).tolist() == reader(x.as_strided(shape, near)).tolist()


def test_a_storage_that_is_smaller_is_not_taken_for_another():
    """The same call of a tensor like it, of less memory: what was remembered of the first does not hold."""
    for _ in range(4):
        assert torch.ones(100)[:3].as_strided((10,), (1,)).sum().item() == 10
    with pytest.raises(RuntimeError, match="out of bounds for storage of size 12"):
        torch.ones(3).as_strided((10,), (1,))


# --- indices -------------------------------------------------------------------------------------------------


def places(*values):
    """Indices that are not known when an op is recorded."""
    return torch.tensor(values) + 0


LOOKUPS = {
    "embedding": lambda w, i: F.embedding(i, w),
    "embedding_bag": lambda w, i: F.embedding_bag(i.reshape(1, -1), w, mode="sum"),
    "embedding_bag mean": lambda w, i: F.embedding_bag(i, w, torch.tensor([0, 1])),
    "index_select": lambda w, i: w.index_select(0, i),
    "index": lambda w, i: w[i],
    "gather": lambda w, i: w.gather(0, i.unsqueeze(1)),
    "scatter": lambda w, i: w.scatter(0, i.unsqueeze(1), w[:3, :1]),
    "scatter_add": lambda w, i: w.scatter_add(0, i.unsqueeze(1), w[:3, :1]),
    "index_add": lambda w, i: w.index_add(0, i, w[:3]),
    "index_copy": lambda w, i: w.index_copy(0, i, w[:3]),
    "index_fill": lambda w, i: w.index_fill(0, i, 1.0),
    "index_put": lambda w, i: w.index_put((i,), w[:3], True),
    "take": lambda w, i: w.take(i),
    "cross_entropy": lambda w, i: F.cross_entropy(w[:3], i),
    "nll of weights": lambda w, i: F.nll_loss(w[:3], i, torch.ones(4)),
    "unpool": lambda w, i: F.max_unpool1d(w.reshape(1, 1, -1)[..., :3], i.reshape(1, 1, 3), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOKUPS)
def test_a_lookup_that_is_wrong_is_refused_by_the_call(monkeypatch, name):
    """Again and again, and nothing is left of it: neither a gradient nor an error for others."""
    monkeypatch.setattr(config, "compiled", True)
    for after in (1, 0):
        monkeypatch.setattr(config, "compile_after", after)
        plans.clear()
        for k in range(4):
            w = torch.ones(6, 4, requires_grad=True)
            other = (w * 2).sum()
            with pytest.raises((IndexError, RuntimeError), match=r"(?i)out of|\bidx\b|invalid max index"):
                LOOKUPS[name](w, places(1, 0, 7_000_000 + k))
            assert w.grad is None and other.item() == 48
            other.backward()
            assert w.grad.tolist() == [[2.0] * 4] * 6
            loss = LOOKUPS[name](w, places(1, 0, 2)).sum()  # and the right one does what it did
            loss.backward()
            assert loss.isfinite().item() and w.grad.isfinite().all()


@pytest.mark.parametrize("name", LOOKUPS)
def test_a_lookup_that_failed_has_no_gradient(monkeypatch, name):
    """The error is caught and the gradient asked for, again and again: it is refused, and no memory is touched."""
    look_late(monkeypatch)
    monkeypatch.setattr(config, "compiled", True)
    for after in (1, 0):
        monkeypatch.setattr(config, "compile_after", after)
        plans.clear()
        for k in range(4):
            w = torch.ones(6, 4, requires_grad=True)
            loss = LOOKUPS[name](w, places(1, 0, 7_000_000 + k)).sum()
            with pytest.raises((IndexError, RuntimeError)):
                loss.item()
            try:
                loss.backward()
                grad = w.grad.tolist()
            except (IndexError, RuntimeError):
                grad = None
            assert grad is None or all(abs(v) < 1e3 for row in grad for v in row)
        for _ in range(3):  # and the right ones of the same kind still do what they did
            w = torch.ones(6, 4, requires_grad=True)
            loss = LOOKUPS[name](w, places(1, 0, 2)).sum()
            assert loss.isfinite().item()
            loss.backward()
            assert w.grad.isfinite().all()


def test_indices_are_looked_at_once_in_a_plan(monkeypatch):
    """The gradient of an embedding trusts the indices that the lookup has refused to go on without, and no others."""
    from flambeau.engine.natives import FAULT

    monkeypatch.setattr(config, "compiled", True)
    monkeypatch.setattr(config, "compile_after", 0)

    def checks(program):
        plans.clear()
        w = torch.ones(6, 4, requires_grad=True)
        program(w)
        w.grad.tolist()
        return sum(FAULT in native.arguments for plan in plans.plans.values() for native in plan.natives.values())

    def known(w):
        F.embedding(torch.tensor([1, 0, 5]), w).square().sum().backward()

    def pending(w):
        F.embedding(places(1, 0, 5), w).square().sum().backward()

    def another(w):  # of more rows than the check of the first lookup knows of
        i = places(1, 0, 2)
        (F.embedding(i, torch.ones(9, 4)) * F.embedding(i, w)).sum().backward()

    assert [checks(program) for program in (known, pending, another)] == [0, 0, 0]  # the calls have looked at all of them
    with monkeypatch.context() as patched:
        look_late(patched)
        assert [checks(program) for program in (pending, another)] == [1, 2]


def test_kernels_of_indices_have_no_place_outside():
    """Even where nobody has looked: an index that is wrong when the kernel runs is none."""
    import ctypes

    import numpy as np

    from flambeau.core import dtypes
    from flambeau.engine.cpu.movement import movement_kernel
    from flambeau.engine.cpu.specs import Lookup, Move, MovementSpec

    for wraps in (False, True):
        for reads in (False, True):
            lookup = Lookup(1, dtypes.int64, (1, 0), 4, 3, wraps)
            strides = ((0, 1), (3, 1)) if reads else ((3, 1), (0, 1))
            move = Move(0, (5, 3), (0, 0), strides, (lookup,), reads=reads)
            kernel, words = movement_kernel(MovementSpec(dtypes.float32, 15 if reads else 12, 2, "zeros", (move,)))
            source = np.arange(15, dtype=np.float32)
            index = np.array([0, -1, 2**40, -(2**62), 3])
            out = np.full(15 + 1000, 9.0, np.float32)
            pointers = source.ctypes.data, index.ctypes.data, out.ctypes.data
            arguments = (ctypes.c_int64 * (3 + len(words)))(*pointers, *words)
            ctypes.CFUNCTYPE(None, ctypes.c_void_p)(kernel)(ctypes.addressof(arguments))
            assert (out[15 if reads else 12 :] == 9).all()


# --- all together --------------------------------------------------------------------------------------------


@linux
def test_chains_of_views_and_indices():
    """A short run of what ``python -m tests.stress_bounds --chains 200000`` does at length."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.stress_bounds", "--chains", "60", "--seed", "9000"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@linux
@pytest.mark.parametrize("part", range(4))
def test_wrong_indices_of_all_records(part):
    """Every op with integer tensors among its samples, with an index far outside in each of them."""
    command = [sys.executable, "-m", "tests.stress_bounds", "--records", f"{part}/4"]
    done = subprocess.run(command, env=os.environ | {"FLAMBEAU_GUARD": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_step_that_finds_no_memory_is_no_end_of_all_others():
    """A plan whose NumPy step can never have its memory is given up: whoever reads something else goes on."""
    import tests.stress_bounds as stress

    assert [stress.check(seed, {}) for seed in (3248512,) * 3] == [None] * 3
