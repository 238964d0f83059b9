"""Ops as loops: what each record's ``lower`` or ``expand`` means is what its kernel in NumPy means."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import config, dtypes
from flambeau.engine.run import run_pending
from flambeau.nn import functional as F
from flambeau.ops.record import registry
from flambeau.ops.samples import Make

pytest.importorskip("llvmlite")

from flambeau.engine import plans  # noqa: E402
from flambeau.engine.plan import Plan  # noqa: E402


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    run_pending()
    monkeypatch.setattr(config, "compile_after", 0)
    yield
    run_pending()


def results(function, compiled: bool, monkeypatch) -> list:
    """The tensors that ``function`` gives, as arrays, computed by a plan or by the interpreter."""
    run_pending()
    monkeypatch.setattr(config, "compiled", compiled)
    plans.plans.clear()
    made = function()
    run_pending()
    return [np.array(t.detach().double().numpy() if t.dtype.is_floating_point else t.numpy()) for t in flat(made)]


def flat(made):
    if isinstance(made, torch.Tensor):
        yield made
    elif isinstance(made, (tuple, list)):
        for m in made:
            yield from flat(m)


def in_numpy() -> list[str]:
    """The ops that the plans made so far leave to NumPy."""
    names = []
    for plan in plans.plans.values():
        if isinstance(plan, Plan):
            for group in plan.groups:
                i = group.members[0]
                if group.body is None and i not in plan.natives and plan.nodes[i].op.kernel is not None:
                    names.append(plan.nodes[i].op.name)
    return [n for n in names if n != "project"]


ROUNDING = {torch.float64: 1e-12, torch.float32: 4e-6, torch.bfloat16: 2**-7, torch.float16: 2**-10}
"""Reductions add in another order; half precision rounds sums that differ in their last bits of float32."""


def same(function, monkeypatch, dtype=torch.float32, native: bool = True, scale: float = 1.0) -> None:
    expected = results(function, False, monkeypatch)
    got = results(function, True, monkeypatch)
    if native:
        assert in_numpy() == []
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        tolerance = ROUNDING[dtype]
        with np.errstate(all="ignore"):
            size = np.abs(e[np.isfinite(e)]).max(initial=1.0) if e.dtype.kind == "f" else 1
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance * scale * size)
        if e.dtype.kind == "f":
            assert (np.isnan(g) == np.isnan(e)).all()


# --- every record's samples ----------------------------------------------------------------------------------


MADE_OF_OTHERS = {"normalization", "loss", "loss_classes", "softmax", "statistics", "reduction"}
"""Modules whose composites are expanded by the records that they call."""


def lowered():
    for name, op in registry.items():
        family = op.check.__module__.rpartition(".")[2]
        if op.samples and op.name == name and (op.lower or op.expand or family in MADE_OF_OTHERS):
            yield name


@pytest.mark.parametrize("name", sorted(lowered()))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_samples(name, dtype, monkeypatch):
    """A plan gives what the interpreter gives, for the samples and their gradients."""
    op = registry[name]
    for k in range(len(op.samples(Make(dtype=dtype)))):

        def run(k=k):
            torch.manual_seed(0)
            sample = op.samples(Make(dtype=dtype))[k]
            leaves = [x for x in (*sample.args, *sample.kwargs.values()) if isinstance(x, torch.Tensor) and x.requires_grad and x.is_leaf]
            try:
                made = [t for t in flat(op.function(*sample.args, **sample.kwargs)) if not t.dtype.is_complex]
            except (RuntimeError, NotImplementedError, TypeError):
                return []
            total = [t.float().sum() for t in made if t.requires_grad]
            if total and leaves:
                sum(total).backward()
            return made, [x.grad for x in leaves if x.grad is not None]

        same(run, monkeypatch, dtype, native=False, scale=4.0)
