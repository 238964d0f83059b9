"""Ops as loops: what each record's ``lower`` or ``expand`` means is what its kernel in NumPy means."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import config
from flambeau.engine.run import run_pending
from flambeau.nn import functional as F
from flambeau.ops.record import registry
from flambeau.ops.samples import Make
from tests.lateness import look_late

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
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_samples(name, dtype, monkeypatch):
    """A plan gives what the interpreter gives, for the samples and their gradients."""
    op = registry[name]
    for k in range(len(op.samples(Make(dtype=dtype)))):

        def run(k=k):
            torch.manual_seed(0)
            sample = op.samples(Make(dtype=dtype))[k]
            leaves = [
                x for x in (*sample.args, *sample.kwargs.values()) if isinstance(x, torch.Tensor) and x.requires_grad and x.is_leaf
            ]
            try:
                made = [t for t in flat(op.function(*sample.args, **sample.kwargs)) if not t.dtype.is_complex]
            except (RuntimeError, NotImplementedError, TypeError):
                return []
            total = [t.float().sum() for t in made if t.requires_grad]
            if total and leaves and op.backward_name == "NotImplemented":  # PyTorch has no derivative either
                with pytest.raises(RuntimeError, match=f"derivative for aten::{name} is not implemented"):
                    sum(total).backward()
            elif total and leaves:
                sum(total).backward()
            return made, [x.grad for x in leaves if x.grad is not None]

        same(run, monkeypatch, dtype, native=False, scale=4.0)


# --- few loops -----------------------------------------------------------------------------------------------


def loops() -> list[list[str]]:
    """The ops of each loop of the largest plan."""
    plan = max((p for p in plans.plans.values() if isinstance(p, Plan)), key=lambda p: len(p.nodes))
    return [[plan.nodes[i].op.name for i in group.members] for group in plan.groups if group.body is not None]


def normal(seed: int, *shape, dtype=torch.float32, special: bool = False):
    values = np.random.default_rng(seed).standard_normal(shape)
    if special:
        values.reshape(-1)[:3] = np.nan, np.inf, -np.inf
    return torch.tensor(values).to(dtype)


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("special", [False, True])
def test_norms(dtype, special, monkeypatch):
    def program():
        made = []
        for norm in (
            lambda x, w, b, *_: F.layer_norm(x.mT, (6,), w, b),
            lambda x, w, b, *_: F.group_norm(x, 3, w, b),
            lambda x, w, b, mean, var: F.batch_norm(x, mean, var, w, b, True),
            lambda x, w, b, mean, var: F.batch_norm(x, mean, var, w, b, False),
            lambda x, w, b, *_: F.instance_norm(x, None, None, w, b),
            lambda x, w, b, *_: F.rms_norm(x.mT, (6,), w),
        ):
            mean, var = torch.zeros(6, dtype=dtype), torch.ones(6, dtype=dtype)
            x = normal(1, 4, 6, 7, dtype=dtype, special=special).requires_grad_()
            w, b = normal(2, 6, dtype=dtype).requires_grad_(), normal(3, 6, dtype=dtype).requires_grad_()
            y = norm(x, w, b, mean, var)
            (y * normal(4, *y.shape, dtype=dtype)).sum().backward()
            made += [y, x.grad, w.grad, mean, var, *([] if b.grad is None else [b.grad])]
        return made

    same(program, monkeypatch, dtype, scale=4.0)


def test_a_layer_norm_and_its_gradient_are_two_loops(monkeypatch):
    def program():
        x, w, b = normal(1, 32, 48).requires_grad_(), normal(2, 48).requires_grad_(), normal(3, 48).requires_grad_()
        F.mse_loss(F.layer_norm(x.softmax(-1), (48,), w, b), normal(4, 32, 48), reduction="sum").backward()
        return x.grad, w.grad, b.grad

    same(program, monkeypatch)
    rows = [names for names in loops() if "softmax" in names]
    assert len(rows) == 1 and "_layer_norm part" in rows[0] and "_normalization_grad part" in rows[0]
    assert sum(len(names) > 2 for names in loops()) == 2  # the rows, and the columns of the gradients for w and b


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(9, 5), (3, 5, 4), (2, 5, 3, 2), (5,)], ids=str)
def test_cross_entropy(shape, weighted, reduction, monkeypatch):
    def program():
        x = (normal(1, *shape) * 9).requires_grad_()
        rng = np.random.default_rng(0)
        target = torch.tensor(rng.integers(0, 5, shape[:1] + shape[2:] if len(shape) > 1 else ()))
        if target.ndim:
            target.view(-1)[1] = -100
        weight = torch.arange(1.0, 6.0) if weighted else None
        loss = F.cross_entropy(x, target, weight, reduction=reduction)
        loss.sum().backward()
        return loss, x.grad

    same(program, monkeypatch)


def test_cross_entropy_and_its_gradient_are_one_loop_over_the_classes(monkeypatch):
    def program():
        x, target = normal(1, 40, 7).requires_grad_(), torch.tensor(np.arange(40) % 7)  # as data comes
        loss = F.cross_entropy(x, target)
        loss.backward()
        return loss, x.grad

    same(program, monkeypatch)
    assert sum("log_softmax" in names and "_nll_loss_grad part" in names for names in loops()) == 1
    assert len(loops()) == 3  # how many targets count; the scores; the sum of the losses


def test_a_target_out_of_range_is_refused_by_the_loop(monkeypatch):
    monkeypatch.setattr(config, "compiled", True)
    for wrong in (7, 3, 9):  # a call looks at it
        total = torch.zeros(())
        total += 1
        with pytest.raises(IndexError, match=f"Target {max(wrong, 6)} is out of bounds"):
            F.nll_loss(normal(1, 4, 6), torch.arange(4) + wrong)
        assert total.item() == 1
    look_late(monkeypatch)
    for wrong in (7, 3, 9):
        x, total = normal(1, 4, 6), torch.zeros(())
        target = torch.arange(4) + wrong
        total += 1
        loss = F.nll_loss(x, target)
        if wrong > 3:
            with pytest.raises(IndexError, match="out of bounds"):
                loss.item()
        else:
            with pytest.raises(IndexError, match="Target 6"):
                loss.item()
        assert total.item() == 1


def test_probabilities_out_of_range_are_refused_by_the_loop(monkeypatch):
    monkeypatch.setattr(config, "compiled", True)
    y = torch.tensor([0.0, 1.0, 0.5])
    for scale in (2.0, float("nan")):  # a call looks at them
        with pytest.raises(RuntimeError, match="between 0 and 1"):
            F.binary_cross_entropy(torch.tensor([0.1, 0.9, 0.6]) * scale, y)
    look_late(monkeypatch)
    for scale, fits in ((1.0, True), (2.0, False), (0.5, True), (float("nan"), False)):
        loss = F.binary_cross_entropy(torch.tensor([0.1, 0.9, 0.6]) * scale, y)
        if fits:
            assert np.isfinite(loss.item())
        else:
            with pytest.raises(RuntimeError, match="between 0 and 1"):
                loss.item()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_losses(dtype, monkeypatch):
    def program():
        made = []
        for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy_with_logits):
            for reduction in ("none", "mean", "sum"):
                x = (normal(1, 5, 7, dtype=dtype) * 2).t().requires_grad_()
                y = loss(x, normal(2, 7, 5, dtype=dtype), reduction=reduction)
                y.sum().backward()
                made += [y, x.grad] if x.is_leaf else [y]
        return made

    same(program, monkeypatch, dtype, scale=4.0)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.int32, torch.uint8], ids=str)
def test_extremes_and_their_places(dtype, monkeypatch):
    def program():
        x = (normal(1, 6, 5, 4) * 3).round().to(dtype)
        if dtype.is_floating_point:
            x[2, 1, 1] = x[2, 3, 1] = float("nan")
            x[1, 0, 0] = float("inf")
        made = [x.argmax(), x.argmin(), x.max(), x.min(), x.amax((0, 2)), x.amin(1)]
        for dim in (0, 1, -1):
            made += [*x.max(dim), *x.min(dim, keepdim=True), x.argmax(dim), x.argmin(dim, keepdim=True)]
            made += torch.aminmax(x.permute(2, 0, 1), dim=dim)
        return made

    same(program, monkeypatch, dtype if dtype.is_floating_point else torch.float64)


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 4), (1, 1), (2, 1, 6)], ids=str)
def test_triangles_know_their_place(shape, monkeypatch):
    def program():
        x = normal(1, *shape)
        made = [f(t, k) for f in (torch.tril, torch.triu) for t in (x, x.mT, x > 0) for k in (-1, 0, 2)]
        return [*made, (x * 2 + 1).tril().exp(), x.tril().sum(-1), x.mT.triu().sum(0)]

    same(program, monkeypatch)


def test_reshaped_values_stay_in_one_loop(monkeypatch):
    def program():
        x = normal(1, 6, 4, 5)
        y = (x * 2).reshape(24, 5).exp().reshape(4, 6, 5) + 1
        return y.reshape(-1, 3).sin() * 2, y.view(2, -1)

    same(program, monkeypatch)
    assert len(loops()) == 1


def test_a_sum_of_all_begins_where_rows_are_summed(monkeypatch):
    def program():
        x = normal(1, 30, 20)
        y = x.softmax(1)
        return y, (y - x).square().sum(), y.sum((0, 1)), (y * 2).sum().sqrt()

    same(program, monkeypatch)
    assert [len(names) > 3 for names in loops()].count(True) == 2  # the rows; what is left of the sums


def test_updates_beside_a_sum_go_into_the_memory_of_what_they_update(monkeypatch):
    monkeypatch.setattr(config, "compiled", True)
    x = torch.ones(1000)
    address = x.data_ptr()
    for k in range(3):
        total = (x * x).sum()
        x -= 0.5 * x
        assert total.item() == 1000 * 0.25**k
        assert x.data_ptr() == address
        assert x.tolist() == [0.5 ** (k + 1)] * 1000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.int64], ids=str)
def test_scans(dtype, monkeypatch):
    def program():
        x = (normal(1, 3, 5, 4, dtype=torch.float32, special=dtype.is_floating_point) * 3).to(dtype)
        y = x.permute(2, 0, 1)[1:]
        made = [f(t, d) for f in (torch.cumsum, torch.cumprod) for t in (x, y, -x.mT * 0) for d in (0, 1, -1)]
        return [*made, x[0, 0].cumsum(0)]

    same(program, monkeypatch, dtype if dtype.is_floating_point else torch.float64)


def test_what_waits_for_a_long_sum_is_a_loop_of_its_own(monkeypatch):
    """The sum, and what follows, can then be divided between threads."""

    def program(n):
        x = normal(1, n)
        return x / x.square().sum().sqrt(), x.var()

    for n, together in ((1000, True), (300_000, False)):
        same(lambda n=n: program(n), monkeypatch)
        assert any("sum part" in names and "true_divide" in names for names in loops()) == together


def test_a_number_before_what_is_checked(monkeypatch) -> None:
    """What an op checks of its values is a part that may begin with a number."""
    x = torch.tensor([1, 2, -3])

    def quotients() -> list:
        divisor = x * 3
        return [7 // divisor + 1, 7 % divisor + 1]

    for found, want in zip(results(quotients, True, monkeypatch), results(quotients, False, monkeypatch), strict=True):
        assert found.tolist() == want.tolist()
