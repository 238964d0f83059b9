"""What type checkers and editors see: stubs as fresh as the records, programs that run, parameters that ``help`` shows."""

from __future__ import annotations

import ast
import inspect
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.ops.record import registry

PROGRAMS = sorted(path for path in (Path(__file__).parent / "typed").glob("*.py") if path.stem not in ("__init__", "mistakes"))
ROOT = Path(torch.__file__).parent


def test_stubs_are_fresh():
    """In a process of its own: what has been imported in this one, is among the names of the package."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tools.stubs", "--check"], cwd=ROOT.parent, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs_run(path, capsys):
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


def names_in(path: Path) -> set[str]:
    """The names that a stub has for users: of functions, of what is imported under its own name, of constants; of methods for a
    class."""
    body = ast.parse(path.read_text()).body
    if path.name == "derived.pyi":
        body = next(node for node in body if isinstance(node, ast.ClassDef)).body
    found = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    found |= {node.target.id for node in body if isinstance(node, ast.AnnAssign)}
    return found | {
        alias.asname
        for node in body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname and alias.asname == alias.name
    }


def test_completion_lists_everything():
    public = [op for op in registry.values() if not op.short_name.startswith("_")]
    functions, functional = names_in(ROOT / "__init__.pyi"), names_in(ROOT / "nn/functional.pyi")
    submodules = {path.stem for path in ROOT.iterdir()}
    assert {op.short_name for op in public if "." not in op.name} <= functions
    assert {name for name in dir(torch) if not name.startswith("_")} - {
        "annotations",
        "Any",
        "importlib",
        "math",
    } <= functions | submodules
    assert set(F.__all__) <= functional
    nodes = list(ast.walk(ast.parse((ROOT / "tensor/tensor.py").read_text())))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef)} | {
        node.id for node in nodes if isinstance(node, ast.Name)
    }
    own |= {name for name in vars(torch.Tensor) if name in ("shape", "dtype", "device", "grad", "data", "requires_grad")}
    listed = {name for name in dir(torch.Tensor) if not name.startswith("_")}
    assert listed <= names_in(ROOT / "tensor/derived.pyi") | own


def test_methods_show_their_parameters():
    for name, parameters in [
        ("scatter_", ["input", "dim", "index", "src", "value", "reduce"]),
        ("add_", ["input", "other", "alpha"]),
        ("squeeze_", ["input", "dim"]),
    ]:
        assert list(inspect.signature(getattr(torch.Tensor, name)).parameters)[: len(parameters)] == parameters
    assert "num_layers" in inspect.signature(torch.nn.LSTM).parameters
    vague = [
        name
        for name in dir(torch.Tensor)
        if name.endswith("_")
        and not name.startswith("_")
        and list(inspect.signature(getattr(torch.Tensor, name)).parameters)[1:] == ["args", "kwargs"]
    ]
    assert len(vague) <= 3, vague
