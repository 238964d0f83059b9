"""The programs of ``examples/mistakes``: each with one mistake, the code of its diagnosis, and the mended program.

The head of each says what is wrong, what is seen, and what mends it::

    # Wrong: ... Seen: SomeError ...        (or "Seen: no error")
    # Code: FB-SHAPE-01
    # Fix: "old text" => "new text"
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import flambeau

_PACKAGE = Path(flambeau.__file__).parent
_FIX = re.compile(r'^# Fix: (".*") => (".*")$', re.MULTILINE)


class Sample(NamedTuple):
    """One program with a mistake."""

    path: Path
    wrong: str
    """What is wrong, and what is seen."""
    seen: str
    """The class of the exception, or "no error"."""
    code: str
    source: str

    @property
    def mended(self) -> str:
        """The program without the mistake."""
        head, source = self.source.split("\nimport ", 1)
        source = "import " + source if not source.startswith("import ") else source
        for old, new in ((json.loads(a), json.loads(b)) for a, b in _FIX.findall(head)):
            source = source.replace(old, new)
        return source

    @property
    def program(self) -> str:
        """The program without its head."""
        return "import " + self.source.split("\nimport ", 1)[1]


@cache
def samples() -> tuple[Sample, ...]:
    """All of them, by name; none where they are not installed."""
    folders = (_PACKAGE / "examples" / "mistakes", _PACKAGE.parent / "examples" / "mistakes")  # installed, and in a checkout
    folder = next((f for f in folders if f.is_dir()), None)
    return tuple(map(_read, sorted(folder.glob("*.py")))) if folder is not None else ()


def _read(path: Path) -> Sample:
    source = path.read_text(encoding="utf-8")
    found = re.match(r"# Wrong: (.*? Seen: (\w+Error|no error)\b.*)\n# Code: (FB-[A-Z]+-\d\d)\n", source)
    if found is None:
        raise ValueError(f"{path.name}: its first lines must say what is wrong, what is seen, and the code")
    return Sample(path, found[1], found[2], found[3], source)
