"""Every rung of the ladder runs as it is, under ``flambeau run``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LADDER = Path(__file__).parent.parent / "examples" / "ladder"


@pytest.mark.parametrize("script", sorted(LADDER.glob("*.py")), ids=lambda s: s.stem)
def test_rung_runs(script: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "flambeau", str(script), "3"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("script", sorted(LADDER.glob("*.py")), ids=lambda s: s.stem)
def test_rung_is_plain_pytorch(script: Path) -> None:
    source = script.read_text(encoding="utf-8")
    assert "import torch" in source
    assert "flambeau" not in source
