"""The package ``torch`` that is flambeau, in environments of its own."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

import flambeau
from flambeau.cli import shim

ROOT = Path(flambeau.__file__).parents[1]


def run(python: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([str(python), *words], capture_output=True, text=True, timeout=120)


@pytest.fixture
def environment(tmp_path) -> tuple[Path, Path]:
    """A new environment in which flambeau and what it needs can be imported: its Python, and where its packages are."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    (site / "flambeau").symlink_to(ROOT / "flambeau")
    for name in ("numpy", "numpy.libs", "ml_dtypes", "llvmlite"):
        there = [Path(entry) / name for entry in sys.path if (Path(entry) / name).exists()]
        if there:
            (site / name).symlink_to(there[0])
    return python, site


def test_install_use_and_uninstall(environment, tmp_path):
    python, site = environment
    assert "not there" in run(python, "-m", "flambeau", "shim").stdout
    assert run(python, "-c", "import torch").returncode
    installed = run(python, "-m", "flambeau", "shim", "--install")
    assert installed.returncode == 0 and "constraints.txt" in installed.stdout, installed.stderr
    program = tmp_path / "program.py"
    program.write_text(
        "import torch.nn as nn, importlib.metadata\n"
        "from torch import Tensor\nimport torch\n"
        "print(torch.__spec__.name, type(nn.Linear(1, 1)(torch.ones(1, 1))), isinstance(torch.ones(1), Tensor), importlib.metadata.version('torch'))\n"
    )
    printed = run(python, str(program))
    assert printed.stdout.startswith("flambeau <class 'torch.Tensor'> True 2."), printed.stderr
    assert run(python, "-m", "flambeau", "run", str(program)).stdout == printed.stdout
    assert "by the package in" in run(python, "-m", "flambeau", "shim").stdout
    assert run(python, "-m", "flambeau", "shim", "--install").returncode == 0  # again
    metadata = "import importlib.metadata as m; print(m.version('torch'), m.requires('torch'), *map(str, m.files('torch')))"
    told = run(python, "-c", metadata).stdout.split()
    assert told[:2] == [shim.RELEASE, "None"] and all((site / file).exists() for file in told[2:])
    assert "taken away" in run(python, "-m", "flambeau", "shim", "--uninstall").stdout
    assert not list(site.glob("torch*")) and run(python, "-c", "import torch").returncode


def test_pytorch_is_never_touched(environment):
    python, site = environment
    for content in ("__init__.py", "other.py"):
        (site / "torch").mkdir(exist_ok=True)
        (site / "torch" / content).write_text("real = True\n")
    info = site / "torch-2.9.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.9.0\n")
    refused = run(python, "-m", "flambeau", "shim", "--install")
    assert refused.returncode == 1 and "PyTorch is installed here" in refused.stderr
    assert "there is no package" in run(python, "-m", "flambeau", "shim", "--uninstall").stdout
    assert "PyTorch 2.9.0 in" in run(python, "-m", "flambeau", "shim").stdout
    assert run(python, "-c", "import torch; print(torch.real)").stdout == "True\n" and info.exists()
