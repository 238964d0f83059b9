"""The doctor finds what raises nothing, where it is, and is silent about programs that are right."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau as torch
from flambeau.diagnosis.doctor.finding import HIDES, RANKS, Finding, ranked
from flambeau.diagnosis.doctor.rules import all_rules
from flambeau.diagnosis.language import Text
from flambeau.diagnosis.samples import samples
from flambeau.tensor.overriding import tell_of_methods
from tests.mistakes import outcome

ROOT = Path(__file__).parent.parent
LADDER = sorted((ROOT / "examples" / "ladder").glob("[0-9]*.py"))
INNOCENT = [(rule.__name__, i, program) for rule in all_rules() for i, program in enumerate(rule.innocent)]


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=120, cwd=ROOT)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict]:
    silent = [s.path.stem for s in samples() if s.seen == "no error"]
    done = python("-m", "tests.mistakes", *silent)
    assert done.returncode == 0, done.stderr
    return {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("sample", [s for s in samples() if s.seen == "no error"], ids=lambda s: s.path.stem)
def test_finds(sample, outcomes) -> None:
    found = outcomes[sample.path.stem]["wrong"]["found"]
    assert [f["code"] for f in found] == [sample.code]
    assert found[0]["line"] > 0


def test_every_rule_has_a_program_and_a_title() -> None:
    known = {s.code for s in samples()}
    for rule in all_rules():
        assert rule.code in known, f"{rule.__name__}: examples/mistakes has no program for {rule.code}"
        assert rule.code.rpartition("-")[0] in RANKS
        assert rule.__doc__


@pytest.mark.parametrize("name, number, program", INNOCENT, ids=[f"{name}-{i}" for name, i, _ in INNOCENT])
def test_is_silent_about_what_is_right(name, number, program, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch)
    result = outcome(program, f"<{name} {number}>")
    assert result["error"] == ""
    assert result["found"] == []


@pytest.mark.parametrize(
    "script", [s for s in LADDER if "nn_" in s.stem or "dynamic" in s.stem or "autograd" in s.stem], ids=lambda s: s.stem
)
def test_is_silent_about_the_ladder(script) -> None:
    done = python("-m", "flambeau", "doctor", script)
    assert (done.returncode, done.stderr) == (0, "")


def test_reports_at_the_end_of_a_program() -> None:
    program = ROOT / "examples" / "mistakes" / "column_minus_row.py"
    done = python("-m", "flambeau", "run", "--check", program)
    assert done.returncode == 0
    line = next(i for i, text in enumerate(program.read_text().splitlines(), 1) if text.startswith("    loss ="))
    assert f"{program}:{line}: A column against a row [FB-LOSS-02]" in done.stderr


def test_leaves_nothing_behind() -> None:
    from flambeau import dispatch
    from flambeau.nn.modules._hooks import global_forward_hooks, global_forward_pre_hooks

    before = torch.Tensor.backward, torch.optim.Optimizer.add_param_group, dispatch.watch
    hooks = len(global_forward_hooks), len(global_forward_pre_hooks)
    with pytest.raises(ZeroDivisionError), torch.doctor(quiet=True):
        raise ZeroDivisionError
    assert (torch.Tensor.backward, torch.optim.Optimizer.add_param_group, dispatch.watch) == before
    assert (len(global_forward_hooks), len(global_forward_pre_hooks)) == hooks


def test_changes_no_result() -> None:
    def trained() -> torch.Tensor:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
        optimizer = torch.optim.Adam(model.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).pow(2).mean().backward()
            optimizer.step()
        return model[0].weight.detach().clone()

    alone = trained()
    with torch.doctor(quiet=True):
        watched = trained()
    assert torch.allclose(alone, watched, rtol=1e-6)


def test_a_cause_hides_what_follows_from_it() -> None:
    text = Text("why", "为什么")
    found = [Finding(code, "a.py", 1, text, text) for code in ("FB-MEMORY-01", "FB-LOOP-01", "FB-LOOP-02", "FB-LOOP-02")]
    assert [f.code for f in ranked(found)] == ["FB-LOOP-02", "FB-MEMORY-01"]
    codes = {s.code for s in samples()}
    assert {*HIDES, *(c for hidden in HIDES.values() for c in hidden)} <= codes


def test_works_where_methods_offer_their_calls():
    """As they do once there has been a mode or a subclass with ``__torch_function__``."""
    tell_of_methods()
    assert not inspect.isfunction(torch.Tensor.__dict__["backward"])
    w = torch.ones(3, requires_grad=True)
    with torch.doctor():
        w.sum().backward()
    assert w.grad.tolist() == [1, 1, 1]
