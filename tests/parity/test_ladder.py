"""Every rung's losses are PyTorch's, from the same seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

SCRIPTS = sorted((Path(__file__).parents[2] / "examples" / "ladder").glob("*.py"))
STEPS = 200

CLIMB = """
import contextlib, io, json, runpy, sys
steps, *paths = sys.argv[1:]
all_losses = {}
for path in paths:
    sys.argv = [path, steps]
    with contextlib.redirect_stdout(io.StringIO()):
        all_losses[path] = runpy.run_path(path, run_name="__main__").get("losses", [])
print(json.dumps(all_losses))
"""


def climb(prelude: str, threads: int, **environment: str) -> dict[str, list[float]]:
    """The losses of all rungs, run in one fresh process."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads), **environment}
    command = [sys.executable, "-c", prelude + CLIMB, str(STEPS), *map(str, SCRIPTS)]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env, check=True).stdout
    return json.loads(printed.splitlines()[-1])


@pytest.fixture(scope="module")
def losses() -> tuple[dict[str, list[float]], ...]:
    """By PyTorch on one thread, on two, and on one with the matrix products of other CPUs; and by flambeau."""
    install = "import flambeau.compat; flambeau.compat.install()\n"
    one, two = (climb(f"import torch; torch.set_num_threads({n})\n", n) for n in (1, 2))
    other = climb("import torch; torch.set_num_threads(1)\n", 1, MKL_CBWR="COMPATIBLE")
    return one, two, other, climb(install, 1)


def apart(a: list[float], b: list[float]) -> list[float]:
    return [abs(x - y) / abs(x) for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("script", [s for s in SCRIPTS if "tour" not in s.name], ids=lambda s: s.stem)
def test_losses_are_pytorchs(script: Path, losses) -> None:
    one, two, other, ours = (run[str(script)] for run in losses)
    assert len(ours) == STEPS
    difference, spread = apart(one, ours), list(map(max, apart(one, two), apart(one, other)))
    assert max(difference[:20]) <= 1e-5
    # Training amplifies rounding. PyTorch summing in another order (two threads for one, another CPU's matrix products)
    # shows by how much; where its runs happen to be equal bit for bit, the bound of the first steps stands.
    for t in range(20, STEPS):
        assert difference[t] <= max(10 * max(spread[: t + 1]), 1e-5), f"step {t}"
