"""Random programs in every mode of the engine; ``python -m tests.fuzz`` runs more of them."""

from __future__ import annotations

import pytest

pytest.importorskip("llvmlite")

from tests.fuzz.modes import check
from tests.fuzz.programs import Repeat, random_program, script
from tests.fuzz.smaller import shrink

BLOCKS, PROGRAMS = 10, 12  # as many as take about half a minute


@pytest.mark.parametrize("block", range(BLOCKS))
def test_modes_agree(block):
    for seed in range(block * PROGRAMS, (block + 1) * PROGRAMS):
        program = random_program(seed)
        mismatch = check(program, seed)
        if mismatch:
            program = shrink(program, lambda p, seed=seed: check(p, seed) is not None, 100)
            pytest.fail(f"program {seed}, {mismatch.mode}\n{script(program, mismatch.seed)}\n{mismatch.text}")


def test_programs_are_reproducible():
    assert random_program(5) == random_program(5)
    assert random_program(5) != random_program(6)


def test_scripts_run():
    program = ("t1 = data(1, (3,))", Repeat(2, ("t1 += 1", "look(t1.sum())")))
    seen: list = []
    exec(script(program, 3).replace("print", "seen.append"), {"seen": seen})
    assert len(seen) == 2


def test_shrinking_finds_the_statements_that_matter():
    program = tuple(f"s{i}" for i in range(20)) + (Repeat(4, ("a", "b", "c")),)
    assert shrink(program, lambda p: "s3" in p and "s17" in p) == ("s3", "s17")
    only = shrink(program, lambda p: any(isinstance(s, Repeat) and "b" in s.body for s in p))
    assert only == (Repeat(2, ("b",)),)


def test_a_wrong_kernel_is_found(monkeypatch):
    """A kernel that is off by a few units in the last place where nothing may be off is a mismatch."""
    import flambeau as torch

    op = torch.mul.op
    monkeypatch.setattr(op, "lower", lambda b, x, y: b.mul(b.mul(x, y), 1.000001))
    assert check(("t1 = data(1, (3, 4))", "t2 = t1 * t1 + 1"), 0).mode == "compiled"
