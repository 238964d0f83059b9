"""The passes from a trace to a plan: their order, and what is printed after each."""

import gc
from weakref import ref

import pytest

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config
from flambeau.engine import graph, plans, verify
from flambeau.engine.lowered import Lowered
from flambeau.engine.passes import PIPELINE, Passes
from flambeau.engine.plan import Plan
from flambeau.engine.trace import Trace


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Everything is compiled on first sight."""
    torch.synchronize()
    plans.clear()
    monkeypatch.setattr(config, "compiled", True)
    monkeypatch.setattr(config, "compile_after", 0)


def program(rows: int = 5) -> list[float]:
    """A product with its rectifier, a softmax, and a write in place."""
    x, w = torch.arange(rows * 4.0).reshape(rows, 4) / 16 - 0.5, torch.ones(4, 4) * 0.5
    torch.synchronize()
    loss = (x @ w).relu().softmax(-1).square().sum()
    w.mul_(0.5)
    return [loss.item(), *w.flatten().tolist()]


def test_the_list_can_be_printed():
    text = "\n".join(map(str, PIPELINE))
    assert (
        text.splitlines()[0] == "templates             a trace without its values; who reads through a view reads with its strides"
    )
    assert len({p.name for p in PIPELINE}) == len(PIPELINE) == len(text.splitlines())


@pytest.mark.parametrize("step", PIPELINE, ids=lambda step: step.name)
def test_each_pass_has_its_function(step):
    assert callable(step.function) and step.does and step.function.__name__ in step.stands


def test_every_plan_goes_through_all_of_them_in_order():
    program()
    found = list(plans.plans.values())
    assert found and all(list(plan.passes.ms) == [p.name for p in PIPELINE] for plan in found)


def test_a_pass_that_has_no_place_in_the_list():
    passes = Passes()
    passes.done("templates")
    with pytest.raises(verify.BrokenPlan, match="the pass grouping has run where PIPELINE has expand"):
        passes.done("grouping")


SAYS = {
    "templates": "= mm(in0, in1): float32[5, 4]",
    "expand": "sum part(",
    "turn_products": "= softmax(",
    "lay_out_convolutions": "= softmax(",
    "join_rectifiers": "= mm(in0, in1) rectified=True",
    "grouping": "alone: %1 mm",
    "natives": "kernel: %1 mm",
    "steps": "exp.float32",
    "sizes": "is written into in1",
    "kernels": "kernel of in0, in1, %1: mm",
    "layout": "in place of in1",
}


@pytest.mark.parametrize("step", PIPELINE, ids=lambda step: step.name)
def test_what_there_is_after_a_pass(step, capsys, monkeypatch):
    monkeypatch.setattr(config, "log", frozenset([f"after:{step.name}"]))
    program()
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"[after:{step.name}] ") for line in lines)
    assert any(step.does in line for line in lines)
    assert any(SAYS[step.name] in line for line in lines), "\n".join(lines)


def test_after_all_of_them(capsys, monkeypatch):
    monkeypatch.setattr(config, "log", frozenset(["after:all"]))
    program()
    said = capsys.readouterr().err
    at = [said.index(str(step)) for step in PIPELINE]
    assert at == sorted(at)
    assert "as before" in said, "there is no product here of which only the transpose is kept"


def test_a_pass_that_there_is_not(capsys, monkeypatch):
    monkeypatch.setattr(config, "log", frozenset(["after:fusing"]))
    program()
    said = capsys.readouterr().err.splitlines()
    assert said and all(line.startswith("[after:fusing] there is no such pass; there are templates, expand") for line in said)


def lowered() -> tuple[Lowered, list[int]]:
    """What is decided for all sizes of a program, and the sizes that it has."""
    torch.synchronize()
    x, w = torch.ones(5, 7) * 0.5, torch.ones(7, 3)
    torch.synchronize()
    loss = (x[1:] @ w).relu().softmax(-1).square().sum()
    pending = graph.trace[:]
    del graph.trace[:]
    trace = Trace(pending, {}, [])
    trace.mark()
    _, sizes = trace.form()
    made = Lowered(trace, sizes)
    graph.trace += pending
    assert loss.isfinite()
    return made, sizes


def test_what_is_printed_decides_nothing(capsys, monkeypatch):
    """Sizes are symbols while a plan is made for other sizes too: a comparison of them would be a guard of all such plans."""
    quiet = lowered()[0].symbols
    monkeypatch.setattr(config, "log", frozenset(["after:all"]))
    telling = lowered()[0].symbols
    assert "<4>" in capsys.readouterr().err
    assert (list(telling._guards.values()), len(telling._formulas)) == (list(quiet._guards.values()), len(quiet._formulas))


def test_plans_go_without_the_collector():
    """A plan that held itself would keep its memory and its kernels until Python's collector comes."""
    made, sizes = lowered()
    plan = Plan(made, sizes)
    seen = ref(made), ref(plan)
    enabled = gc.isenabled()
    gc.disable()
    try:
        del made, plan
        assert [r() for r in seen] == [None, None]
    finally:
        if enabled:
            gc.enable()
