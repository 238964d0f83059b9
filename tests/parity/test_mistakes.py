"""The mistakes of ``examples/mistakes`` are seen in real PyTorch as their first lines say."""

from __future__ import annotations

import builtins
import pickle
import re
import runpy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

SCRIPTS = sorted((Path(__file__).parents[2] / "examples" / "mistakes").glob("*.py"))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # which is what the program is about,
@pytest.mark.filterwarnings("ignore:.* should not be instantiated:DeprecationWarning")  # as this is
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.stem)
def test_seen_as_announced(script: Path) -> None:
    seen = re.match(r"# Wrong: .* Seen: (\w+Error|no error)\b", script.read_text(encoding="utf-8"))
    assert seen
    if seen[1] == "no error":
        runpy.run_path(str(script))
    else:
        with pytest.raises(getattr(builtins, seen[1], None) or getattr(pickle, seen[1])) as caught:
            runpy.run_path(str(script))
        assert caught.type.__name__ == seen[1]
