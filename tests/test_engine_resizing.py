"""Resizing in the compiled tier, against its meaning in NumPy."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import flambeau as torch  # noqa: E402
from flambeau.core import config, dtypes  # noqa: E402
from flambeau.engine import plans  # noqa: E402
from flambeau.engine.cpu import compiler  # noqa: E402
from flambeau.engine.cpu.resizing import resize_kernel  # noqa: E402
from flambeau.engine.cpu.specs import ResizeSpec, Taps  # noqa: E402
from flambeau.engine.resizing import _taps  # noqa: E402
from flambeau.engine.run import run_pending  # noqa: E402
from flambeau.nn import functional as F  # noqa: E402

RESIZES = {
    "nearest, twice": (2, {"scale_factor": 2}),
    "nearest, thrice and a half": (2, {"scale_factor": (3.5, 1.5)}),
    "nearest, smaller": (2, {"size": (3, 17)}),
    "nearest-exact": (2, {"size": (13, 40), "mode": "nearest-exact"}),
    "bilinear": (2, {"scale_factor": 2, "mode": "bilinear"}),
    "bilinear, aligned": (2, {"size": (20, 5), "mode": "bilinear", "align_corners": True}),
    "bilinear, antialiased": (2, {"size": (4, 3), "mode": "bilinear", "antialias": True}),
    "bicubic": (2, {"size": (19, 7), "mode": "bicubic"}),
    "to one place": (2, {"size": 1, "mode": "bilinear", "antialias": True}),
    "sequences, nearest": (1, {"scale_factor": 2}),
    "sequences, linear": (1, {"size": 33, "mode": "linear"}),
}
VIEWS = {
    "whole": lambda x: x * 1,
    "channels last": lambda x: (x * 1).movedim(1, -1).contiguous().movedim(-1, 1),
    "a part": lambda x: (x * 1)[:, 1:],
    "the same image": lambda x: (x * 1)[:1].expand(3, *x.shape[1:]),
}


def check(dims: int, settings: dict, view, dtype: str) -> None:
    rng = np.random.default_rng(0)
    data = rng.standard_normal((2, 3, 9, 11)[: 2 + dims]).astype(dtype)

    def program():
        x = torch.tensor(data, requires_grad=True)
        out = F.interpolate(view(x), **settings)
        weights = torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape).cos()
        (out * weights).sum().backward()
        return out.detach().numpy(), x.grad.numpy()

    run_pending()
    before = config.compiled, config.compile_after
    try:
        config.compiled = False
        expected = program()
        config.compiled, config.compile_after = True, 0
        plans.clear()
        seen = program()
    finally:
        config.compiled, config.compile_after = before
    few = 64 * np.finfo(dtype).eps  # sums of up to some 40 terms, added dim by dim in another order
    for a, b in zip(expected, seen, strict=True):
        np.testing.assert_allclose(b, a, rtol=few, atol=few)
    assert plans.plans
    inside = [plan.nodes[step.node].op.name for plan in plans.plans.values() for step in plan.steps if not step.compiled]
    assert not [name for name in inside if "upsample" in name]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize(("dims", "settings"), RESIZES.values(), ids=RESIZES)
def test_plans(dims, settings, view, dtype):
    check(dims, settings, view, dtype)


@pytest.mark.parametrize("level", ["avx2", "generic"])
def test_other_machines(level):
    if "FLAMBEAU_CPU" in os.environ:
        pytest.skip("the machine has been chosen")
    program = "\n".join([
        "from tests.test_engine_resizing import RESIZES, VIEWS, check",
        "for dims, settings in RESIZES.values():",
        "    check(dims, settings, VIEWS['channels last'], 'float32')",
        "print('done')",
    ])  # fmt: skip
    environment = {**os.environ, "FLAMBEAU_CPU": level}
    here = Path(__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=here)
    if "is no level of this CPU" in found.stderr:
        pytest.skip(found.stderr.strip().splitlines()[-1])
    assert found.stdout.strip() == "done", found.stderr


def test_infinity_stays_where_it_is():
    data = np.zeros((1, 1, 4, 4), "float32")
    data[0, 0, 1, 1], data[0, 0, 3, 3] = np.inf, np.nan
    run_pending()
    before = config.compiled, config.compile_after
    results = []
    try:
        for config.compiled, config.compile_after in ((False, 0), (True, 0)):
            x = torch.tensor(data)
            results.append([F.interpolate(x, scale_factor=2, mode=m).numpy() for m in ("nearest", "bilinear")])
    finally:
        config.compiled, config.compile_after = before
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def resized(x: np.ndarray, taps: Taps) -> np.ndarray:
    """What the sums over rows mean, term by term."""
    out = np.zeros((*x.shape[:2], len(taps.counts), x.shape[3]), x.dtype)
    for i, (first, last) in enumerate(zip(taps.starts, taps.starts[1:], strict=False)):
        for k in range(first, last):
            out[:, :, i] += x[:, :, taps.elements[k]] * x.dtype.type(taps.weights[k])
    return out


@pytest.mark.parametrize("level", ["", "avx2", "generic"])
def test_many_sizes_have_few_kernels(level):
    try:
        session = compiler.Session(compiler.machine(level))
    except ValueError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    for k in range(60):
        kind = ("nearest", "linear", "cubic", "nearest-exact")[k % 4]
        dtype = (dtypes.float32, dtypes.float64)[k % 3 == 0]
        antialias, back = kind in ("linear", "cubic") and k % 5 == 0, k % 8 > 3
        sizes, outputs = (rng.integers(1, 50, 2).tolist() for _ in range(2))
        precise = dtype is dtypes.float64 and not kind.startswith("nearest")
        rows, columns = (_taps((kind, n, m, None, False, antialias, precise), n, back) for n, m in zip(sizes, outputs, strict=True))
        given = outputs if back else sizes
        x = rng.standard_normal((2, 3, *given)).astype(dtype.np)
        if k % 7 > 3:
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        wanted = resized(resized(x, rows).swapaxes(2, 3), columns).swapaxes(2, 3)
        around = np.full(wanted.size + 64, -77, dtype.np)
        y = around[32:-32].reshape(wanted.shape)
        strides = tuple(s // x.itemsize for s in x.strides)
        address, words = resize_kernel(ResizeSpec(dtype, (2, 3), tuple(given), strides, rows, columns), session)
        block = np.array([x.ctypes.data, y.ctypes.data, *words], np.int64)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(block.ctypes.data)
        np.testing.assert_array_equal(y, wanted, str((kind, sizes, outputs, back)))
        assert (around[:32] == -77).all() and (around[-32:] == -77).all()
    known = session.stats.compiled
    assert known <= 40
    for n in range(2, 200, 5):  # what has been met in other sizes needs none
        rows, columns = (_taps(("linear", n, m, None, False, False, False), n, False) for m in (2 * n, 3 * n))
        resize_kernel(ResizeSpec(dtypes.float32, (2, 3), (n, n), (3 * n * n, n * n, n, 1), rows, columns), session)
    assert session.stats.compiled <= known + 1


@pytest.mark.parametrize("step", [2, 2**40, 2**63 - 1])
def test_rows_of_one_that_lie_anywhere(step):
    for _ in range(3):
        x = (torch.arange(3.0).reshape(1, 3) - 1).clone()[::step]
        assert F.interpolate(x[None, None], size=2).tolist() == [[[[-1.0, 0.0], [-1.0, 0.0]]]]
