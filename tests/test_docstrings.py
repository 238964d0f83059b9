"""Public docstrings are whole: what it computes, an example (test_docs and pytest run them), what it raises, and the source."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import flambeau
import flambeau.nn.native  # noqa: F401  (fills the registry, as the next)
from flambeau import distributions, nn, optim
from flambeau.ops import deformable, quantization, regions  # noqa: F401
from flambeau.ops.record import registry
from flambeau.utils import data

PACKAGE = Path(flambeau.__file__).parent
OPS = [
    op.function
    for op in dict.fromkeys(registry.values())
    if not op.short_name.startswith("_") and not op.name.startswith("aten.") and op.check.__module__.startswith("flambeau.")
]
CLASSES = [
    cls
    for home in (nn, optim, optim.lr_scheduler, distributions, data)
    for name, cls in sorted(vars(home).items())
    if inspect.isclass(cls) and cls.__module__.startswith("flambeau.") and cls.__name__ == name and not name.startswith("_")
]

LACKS = {
    "docstring": lambda thing, text: not text,
    "example": lambda thing, text: ">>>" not in text,
    "source": lambda thing, text: not any(word in text for word in ("Source:", "et al.")),
    "errors": lambda thing, text: "raise " in _source(thing) and not any(word in text for word in ("Raises", "Error", "refuse")),
}


def _source(thing) -> str:
    return inspect.getsource(thing.op.check if hasattr(thing, "op") else thing)


@pytest.mark.parametrize("things", [OPS, CLASSES], ids=["ops", "classes"])
@pytest.mark.parametrize("part", LACKS)
def test_nothing_is_lacking(things, part):
    assert [f"{thing.__module__}.{thing.__name__}" for thing in things if LACKS[part](thing, thing.__doc__ or "")] == []


def test_each_stands_alone():
    """None says "the same" as its neighbour does: ``help()`` shows it alone."""
    texts = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert [str(path) for path, text in texts.items() if '"""The same' in text] == []
