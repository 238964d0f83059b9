"""Whatever is raised in the middle of flambeau's code, tensors are as program order says, or are computed when asked."""

from __future__ import annotations

import ast
import gc
import signal
from pathlib import Path

import pytest

import flambeau
from flambeau.core import config
from flambeau.engine import flight
from tests.interruptions import NAMES, Checked
from tests.preemption import run


@pytest.fixture(params=["interpreted", "compiled"])
def mode(request, monkeypatch):
    if request.param == "compiled":
        pytest.importorskip("llvmlite")
    monkeypatch.setattr(config, "compiled", request.param == "compiled")
    monkeypatch.setattr(config, "compile_after", 0)
    monkeypatch.setattr(config, "eager", False)
    monkeypatch.setattr(config, "ahead", 0.0)
    monkeypatch.setattr(config, "strict", False)
    monkeypatch.setattr(flight, "LATE", float("inf"))
    monkeypatch.setattr(flight, "grounded_until", 0.0)
    return request.param


@pytest.mark.parametrize("name", NAMES)
def test_handlers_that_raise(name, mode):
    program = Checked(name)
    count = program.places()
    problems = [problem for at in range(count % 7, count, count // 100) if (problem := program.raising(at))]
    assert not problems


@pytest.mark.parametrize("name", NAMES)
def test_handlers_that_use_tensors(name, mode):
    program = Checked(name)
    count = program.places()
    problems = [problem for at in range(count % 5, count, count // 15) if (problem := program.using(at))]
    assert not problems


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="time-outs by signals are POSIX")
def test_training_that_is_interrupted(mode):
    """The same in training loops, at random times; ``python -m tests.preemption`` does that for longer."""
    kept = gc.callbacks[:]
    gc.callbacks.clear()  # a test tool's, which would be interrupted too
    try:
        assert not run(8, seed=0)
    finally:
        gc.callbacks[:] = kept


def test_gradients_are_switched_off_where_they_are_switched_on_again():
    """A handler may raise when the call that switches them off has returned: so that is in the ``try`` that ends it."""
    outside = []
    for path in Path(flambeau.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        inside = {
            id(node) for t in ast.walk(tree) if isinstance(t, ast.Try) and t.finalbody for part in t.body for node in ast.walk(part)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node).endswith("grad_mode.off()") and id(node) not in inside:
                outside.append(f"{path.name}:{node.lineno}")
    assert not outside
