"""Which traces are compiled and when; what the engine says about itself; what must hold of a plan."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config
from flambeau.engine import plans, report, verify
from flambeau.engine import trace as signatures
from flambeau.engine.run import run_pending
from flambeau.nn import functional as F


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Compiles what is seen twice; begins without plans and with the whole allowance."""
    run_pending()
    monkeypatch.setattr(config, "eager", False)
    monkeypatch.setattr(config, "compiled", True)
    monkeypatch.setattr(config, "compile_after", 1)
    plans.clear()
    monkeypatch.setattr(plans, "totals", plans.Totals())
    monkeypatch.setattr(plans, "ALLOWANCE", 2.0)
    yield
    run_pending()
    plans.clear()


def step(n: int = 3) -> float:
    x = torch.ones(n)
    return (x * 2 + 1).sum().item()


def test_second_time_compiles_third_time_runs():
    counts = []
    for _ in range(4):
        step()
        stats = torch.engine_stats()
        counts.append((stats["plans"], stats["compiled"], stats["hits"], stats["misses"]))
    assert counts == [(0, 0, 0, 1), (1, 1, 1, 1), (1, 1, 2, 1), (1, 1, 3, 1)]
    assert torch.engine_stats()["compile_ms"] > 0 and torch.engine_stats()["native_ms"] > 0
    assert torch.engine_stats()["code_bytes"] > 0


def test_nodes_are_counted_by_who_runs_them():
    for _ in range(3):
        step()  # three nodes
    stats = torch.engine_stats()
    assert (stats["nodes_native"], stats["nodes_numpy"]) == (2 * 3, 3)
    plans.clear()
    assert torch.engine_stats()["nodes_native"] == stats["nodes_native"]


def test_first_time_compiles_by_request(monkeypatch):
    monkeypatch.setattr(config, "compile_after", 0)
    step()
    assert torch.engine_stats()["compiled"] == 1 and torch.engine_stats()["misses"] == 0


def test_what_takes_long_is_compiled_on_first_sight():
    """If the interpreter would take longer, this time alone, than compiling takes: a large product, but no small one."""
    from flambeau.engine.cpu import compiler

    compiler.session()  # loading LLVM takes its time too
    for n, compiled in ((50, 0), (1500, 1)):
        a, b = torch.ones(n, n), torch.ones(n, n)
        assert torch.mm(a, b).amax().item() == n
        assert (torch.engine_stats()["compiled"], torch.engine_stats()["misses"]) == (compiled, 1)
    weight, images = torch.ones(64, 64, 3, 3), torch.ones(8, 64, 60, 60)
    assert F.conv2d(images, weight)[0, 0, 0, 0].item() == 64 * 9
    assert torch.engine_stats()["misses"] == 1


def test_numpys_products_use_one_thread(monkeypatch):
    """In the interpreter they are small: threads would wait for each other. The user's own have as many as before."""
    from flambeau.engine.cpu import blas

    if blas.get_num_threads() is None:
        pytest.skip("this BLAS does not let itself be asked")
    before = torch.get_num_threads()
    seen = []
    kernel = torch.mm.op.kernel

    def watched(*args):
        seen.append(blas.get_num_threads())
        return kernel(*args)

    try:
        torch.set_num_threads(2)
        monkeypatch.setattr(torch.mm.op, "kernel", watched)
        torch.mm(torch.ones(5, 6), torch.ones(6, 7)).sum().item()
        assert seen == [1] and blas.get_num_threads() == 2
        monkeypatch.setattr(torch.mm.op, "kernel", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            torch.mm(torch.ones(5, 8), torch.ones(8, 7)).sum().item()
        assert blas.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_shapes_that_come_twice_do_not_compile_for_ever(monkeypatch):
    """Once the allowance is used up, a trace is compiled when the interpreter has spent on it what compiling takes."""
    monkeypatch.setattr(plans, "ALLOWANCE", 0.0)
    step(1)
    step(1)  # nothing is known of what compiling takes
    plans.totals.cost, plans.totals.nodes = 1000.0, 1
    for n in range(2, 30):
        step(n)
        step(n)
    assert plans.totals.compiled == 1


def test_what_takes_long_is_compiled_without_an_allowance(monkeypatch):
    monkeypatch.setattr(plans, "ALLOWANCE", 0.0)
    plans.totals.cost, plans.totals.nodes = 10.0, 1000  # 10 ms a node
    step()
    (seen,) = plans.seen.values()
    step()
    assert plans.totals.compiled == 0
    seen.cost = 1.0
    step()
    assert plans.totals.compiled == 1


def test_what_is_compiled_does_not_depend_on_the_clock(monkeypatch):
    """Kernels add up in another order than NumPy: results would differ from run to run."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(plans, "ALLOWANCE", 0.003)

    def program():
        run_pending()
        plans.clear()
        monkeypatch.setattr(plans, "totals", plans.Totals())
        hits = []
        for n in (10, 10, 10, 20, 20, 30, 30, 3000, 3000, 3000, 10, 40, 40, 50, 50):
            before = torch.engine_stats()["hits"]
            step(n)
            hits.append(torch.engine_stats()["hits"] - before)
        return hits, plans.totals.cost

    for _ in range(4):  # which kernels are there already counts
        expected = program()
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks) * 1.0)
    monkeypatch.setattr("flambeau.engine.run.perf_counter", lambda: next(ticks) * 1000.0)
    assert program() == expected
    assert 0 < sum(expected[0]) < 15


def test_what_plans_save_is_an_allowance(monkeypatch):
    monkeypatch.setattr(plans, "ALLOWANCE", 0.0)
    for _ in range(3):
        step()
    plans.totals.cost, plans.totals.nodes = 10.0, 10
    plan = next(iter(plans.plans.values()))
    plan.runs, plan.interpreted = 100, 0.15
    assert [step(4), step(4)] and plans.totals.compiled == 1, "15 s are half saved: 10 s are not paid"
    plan.interpreted = 1.0
    step(4)
    assert plans.totals.compiled == 2


def test_tables_are_bounded(monkeypatch):
    monkeypatch.setattr(plans, "MAX_PLANS", 4)
    monkeypatch.setattr(plans, "MAX_SEEN", 20)
    hits = 0
    for n in range(1, 20):
        for _ in range(3):
            step(n)
            hits += 1
        step(1)  # one that is used all the time
        assert len(plans.plans) <= 4 and sum(len(kept) for _, kept in plans.seen) <= 20
        assert len(signatures.structures) < 20 and len(signatures.kinds) < 60
    assert any(
        key for key, plan in plans.plans.items() if plan.lowered.slot_shapes and tuple(plan.lowered.slot_shapes[0][0]) == (1,)
    )
    stats = torch.engine_stats()
    assert stats["hits"] + stats["misses"] == hits + 19


@pytest.mark.parametrize("bound", ["MAX_CODE", "MAX_KERNELS"])
def test_machine_code_is_bounded(monkeypatch, bound):
    monkeypatch.setattr(plans, bound, 0)
    for n in (2, 2, 3, 3, 4, 4):
        step(n)
    assert plans.totals.compiled == 1


def test_a_trace_that_cannot_be_compiled_is_interpreted(monkeypatch, capsys):
    monkeypatch.setattr(config, "strict", False)
    monkeypatch.setattr(config, "log", frozenset(["plan"]))

    monkeypatch.setattr(
        "flambeau.engine.lowered.Grouper", None
    )  # a bug of the engine's own, and not an error that came from outside
    assert [step() for _ in range(4)] == [9.0] * 4
    assert capsys.readouterr().err.count("is not compiled: TypeError") == 1
    assert torch.engine_stats()["misses"] == 4
    monkeypatch.setattr(config, "strict", True)
    with pytest.raises(TypeError, match="not callable"):
        step(5), step(5)


@pytest.mark.parametrize("values", [(0.0, -0.0), (-0.0, 0.0), (1, True), (0.5, float("nan"))])
@pytest.mark.parametrize(
    "op", [lambda x, v: F.threshold(x, 0.5, v), F.leaky_relu, F.elu, lambda x, v: x.nan_to_num(v)],
    ids=["threshold", "leaky_relu", "elu", "nan_to_num"],
)  # fmt: skip
def test_settings_that_python_takes_for_equal(op, values):
    """-0.0 == 0.0, but they are different settings; NaN is the same setting each time."""
    x = torch.tensor([1.0, -2.0, 0.0, -0.0, float("nan")])

    def texts(compiled):
        config.compiled = compiled
        return [str(op(x * 1, v).tolist()) for v in values * 3]

    expected = texts(False)
    assert texts(True) == expected
    known = torch.engine_stats()["compiled"]
    assert known <= 2
    assert texts(True) == expected and torch.engine_stats()["compiled"] == known


# --- what it says --------------------------------------------------------------------------------------------


def train(steps: int = 3) -> None:
    torch.manual_seed(0)
    w, x = torch.randn(4, 4, requires_grad=True), torch.randn(5, 4)
    optimizer = torch.optim.SGD([w], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (x @ w).softmax(-1).square().mean()
        loss.backward()
        optimizer.step()
        loss.item()


def test_report():
    train()
    found = [report.PlanReport(plan) for plan in plans.plans.values()]
    largest = max(found, key=lambda r: r.nodes)
    assert list(largest.passes)[0] == "templates" and list(largest.passes)[-1] == "layout"
    assert all(ms >= 0 for ms in largest.passes.values())
    assert largest.kernels >= 3 and largest.calls == 1 and largest.runs >= 1 and largest.arena > 0
    kinds = {group.kind for group in largest.groups}
    assert kinds == {"kernel", "loop"}
    assert any("mm" in group.ops for group in largest.groups)
    assert any(group.in_place for group in largest.groups), "SGD writes into the weights"
    text = str(largest)
    assert "passes, ms: templates" in text and "in place of in" in text and "reduces 1" in text


def test_log(capsys, monkeypatch):
    train()
    assert capsys.readouterr().err == ""
    plans.clear()
    monkeypatch.setattr(config, "log", frozenset(["plan"]))
    train()
    said = capsys.readouterr().err
    assert said.startswith("[plan] plan: ") and all(line.startswith("[plan]") for line in said.splitlines())


def test_log_by_the_environment():
    code = "from flambeau.core import config; print(sorted(config.log))"
    for given, topics in [("plan", ["plan"]), ("plan,guards", ["guards", "plan"]), ("", [])]:
        out = subprocess.run([sys.executable, "-c", code], env={"FLAMBEAU_LOG": given}, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == str(topics)


def test_info(capsys, monkeypatch, tmp_path):
    from flambeau.cli import main

    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("FLAMBEAU_CPU", raising=False)
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    assert "-bit vectors" in said and f"{tmp_path / 'code'}: 0 kernels, 0.0 MiB" in said and "thread" in said
    monkeypatch.setenv("FLAMBEAU_CPU", "z80")
    assert main(["info"]) == 0
    assert "'z80' is no level of this CPU" in capsys.readouterr().out
    monkeypatch.setattr(config, "compiled", False)
    assert main(["info"]) == 0
    assert "kernels for" not in capsys.readouterr().out


# --- the verifier --------------------------------------------------------------------------------------------


@pytest.fixture
def plan():
    train()
    return max(plans.plans.values(), key=lambda p: len(p.nodes))


def test_a_plan_is_sound(plan):
    order = sorted(i for group in plan.groups for i in group.members)
    verify.verify_groups(plan.lowered, order)
    verify.verify_memory(plan)


def test_a_node_that_is_not_placed(plan):
    order = sorted(i for group in plan.groups for i in group.members)
    plan.groups[-1].members.pop()
    with pytest.raises(verify.BrokenPlan, match="are in no group"):
        verify.verify_groups(plan.lowered, order)


def test_groups_out_of_order(plan):
    order = sorted(i for group in plan.groups for i in group.members)
    plan.groups.reverse()
    with pytest.raises(verify.BrokenPlan, match="which runs later or not at all"):
        verify.verify_groups(plan.lowered, order)


def test_memory_that_is_shared(plan):
    first, second = sorted(i for i in plan.in_memory if i in plan.static)[:2]
    plan.static[second] = plan.static[first]
    with pytest.raises(verify.BrokenPlan, match="share memory"):
        verify.verify_memory(plan)


def test_steps_out_of_order(plan):
    plan.steps.reverse()
    with pytest.raises(verify.BrokenPlan, match="which no step before it has written"):
        verify.verify_memory(plan)


def test_memory_that_is_written_too_early(plan):
    """A step that runs once more after the update: it reads what is no longer there."""
    verify.verify_targets(plan.lowered)
    k, slot = next(
        (k, ~s) for k, step in enumerate(plan.steps) for s, _ in step.arguments if s is not None and ~s in plan.in_place.values()
    )
    plan.groups.append(plan.groups[k])
    plan.steps.append(plan.steps[k])
    with pytest.raises(verify.BrokenPlan, match=f"reads leaf {slot}, whose memory holds"):
        verify.verify_targets(plan.lowered)


def test_a_view_out_of_bounds(plan):
    from flambeau.engine.grouping import Ref

    order = sorted(i for group in plan.groups for i in group.members)
    node = next(plan.nodes[i] for i in order if any(isinstance(r, Ref) for r in plan.nodes[i].inputs))
    at = next(k for k, r in enumerate(node.inputs) if isinstance(r, Ref))
    good = node.inputs[at]
    node.inputs[at] = Ref(good.source, good.shape, good.dtype, good.strides, good.offset + 10_000, True)
    with pytest.raises(verify.BrokenPlan, match="reads elements"):
        verify.verify_nodes(plan.lowered, order)


@pytest.mark.skipif(config.eager, reason="no trace is long enough")
def test_traces_that_take_turns_are_recognised(monkeypatch):
    """Each in few steps, though they have as many nodes and the same last one, as those of a text that grows."""
    looked = []
    look = signatures.Trace._look
    monkeypatch.setattr(signatures.Trace, "_look", lambda *args: (looked.append(1), look(*args))[1])
    inputs = [torch.ones(n) for n in range(2, 8)]
    for i in range(24):
        if i == 12:
            looked.clear()
        x = inputs[i % 6]
        assert ((x + 1) * 2).sum().item() == 4 * len(x)
    assert not looked


def test_what_there_is_no_memory_for_is_not_compiled():
    """It stays pending and comes again and again; a kernel that sums it in one go needs no memory, but days."""
    total = torch.ones(2).expand(10**15, 2).contiguous().sum()
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        total.item()
    for _ in range(4):
        assert (torch.ones(3) + 1).tolist() == [2.0, 2.0, 2.0]
        run_pending()
    assert all(seen.cost < plans.MOST for seen in plans.seen.values())
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        total.item()
