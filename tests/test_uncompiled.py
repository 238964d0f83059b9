"""flambeau without llvmlite, in processes that cannot import it: NumPy computes, and says so once."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import flambeau as torch

ROOT = Path(torch.__file__).parents[1]

TRAINING = """
import flambeau as torch
from flambeau import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 3))
optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
x, y = torch.randn(30, 4), torch.randint(3, (30,))
losses = []
for _ in range(20):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
"""


def without(code: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What a program prints where there is no llvmlite."""
    code = "import sys; sys.modules['llvmlite'] = None\n" + textwrap.dedent(code)
    environment = {**os.environ, "FLAMBEAU_COMPILE": "1", **variables}
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=300, cwd=ROOT, env=environment
    )


def test_a_training_has_the_same_losses():
    scope: dict = {}
    exec(TRAINING, scope)
    done = without(TRAINING + "print(*losses, any(name.startswith('llvmlite.') for name in sys.modules))")
    assert done.returncode == 0 and done.stderr == "", done.stderr  # so little work that nobody needs to hear of it
    *losses, loaded = done.stdout.split()
    assert loaded == "False"
    assert [float(loss) for loss in losses] == pytest.approx(scope["losses"], rel=1e-4)


def test_work_that_takes_time_is_told_of_once():
    heavy = """
        import flambeau as torch, warnings
        from flambeau.engine import uncompiled
        uncompiled.NOTICED = 1e-3
        x = torch.rand(300, 300)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(3):
                (x @ x).sum().item()
        print(*[f"{w.category.__name__} in {w.filename}: {w.message}" for w in told], sep="\\n")
    """
    told = without(heavy).stdout
    assert told.startswith("RuntimeWarning in <string>: flambeau runs without its compiler") and told.count("\n") == 1
    assert "pip install 'flambeau[compile]'" in told
    assert without(heavy, FLAMBEAU_COMPILE="0").stdout.strip() == ""  # as asked


def test_what_says_what_there_is():
    done = without("from flambeau.cli import main; sys.argv[:] = ['flambeau', 'info']; main()")
    assert "in NumPy: llvmlite is not installed" in done.stdout and "flambeau[compile]" in done.stdout, done.stderr
    code = """
        import flambeau as torch
        print(torch.backends.cpu.get_cpu_capability(), torch.__config__.show(), torch.cpu.get_capabilities().keys() >= {"avx2", "cpu_name"})
    """
    assert "llvmlite is not installed" in without(code).stdout


def test_slim_models_run_and_are_not_made(tmp_path):
    pytest.importorskip("llvmlite")
    torch.export_slim(torch.nn.Linear(3, 2).eval(), (torch.ones(1, 3),), tmp_path / "linear.slim")
    code = """
        import numpy as np, flambeau as torch
        print(torch.load_slim(sys.argv[1])(np.ones((1, 3), np.float32)).shape)
        torch.export_slim(torch.nn.Linear(3, 2), (torch.ones(1, 3),), sys.argv[1])
    """
    done = without(code, str(tmp_path / "linear.slim"))
    assert done.stdout == "(1, 2)\n" and "pip install 'flambeau[compile]'" in done.stderr


def test_the_suite():
    """What the tests of tensors and gradients ask for; those of kernels are about what is not there."""
    files = [str(ROOT / "tests" / f"test_{name}.py") for name in ("autograd", "storages", "module")]
    done = without("import pytest; sys.exit(pytest.main(sys.argv[1:]))", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files)
    assert done.returncode == 0, done.stdout[-4000:]
