"""The book's programs print on PyTorch what they print on flambeau."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tools.book import CHAPTERS  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
IMPORTS = {"import flambeau as torch": "import torch", "from flambeau": "from torch", "import flambeau.": "import torch."}


@pytest.mark.parametrize("page", [page for page in CHAPTERS if page.stem[:2] not in ("12", "13")], ids=lambda p: p.stem)
def test_chapter_runs_on_pytorch(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for own, other in IMPORTS.items():
        text = text.replace(own, other)
    copy = tmp_path / page.name
    copy.write_text(text, encoding="utf-8")
    program = f"from pathlib import Path; from tools.pages import run_blocks; run_blocks(Path({str(copy)!r}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path
    )
    assert result.returncode == 0, result.stdout + result.stderr
