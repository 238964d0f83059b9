"""What the doctor has found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from flambeau.diagnosis.codes import CODES
from flambeau.diagnosis.language import Text

HIDES = {  # a cause hides what follows from it
    "FB-LOOP-02": ("FB-LOOP-01", "FB-LOOP-06"),
    "FB-GRAPH-10": ("FB-LOOP-07", "FB-PARAM-05", "FB-NUMBER-06"),
    "FB-LOOP-03": ("FB-LOOP-06",),
    "FB-LOOP-07": ("FB-NUMBER-06",),
    "FB-NUMBER-01": ("FB-NUMBER-03",),
    "FB-NUMBER-03": ("FB-NUMBER-04", "FB-NUMBER-05"),
    "FB-NUMBER-04": ("FB-NUMBER-05", "FB-PARAM-05"),
    "FB-PARAM-01": ("FB-NUMBER-01", "FB-NUMBER-03"),
    "FB-PARAM-02": ("FB-PARAM-03",),
    "FB-PARAM-04": ("FB-PARAM-03", "FB-PARAM-05"),
    "FB-LOSS-02": ("FB-NUMBER-03",),
}
RANKS = ("FB-GRAPH", "FB-LOOP", "FB-OPTIM", "FB-PARAM", "FB-LOSS", "FB-SHAPE", "FB-NUMBER", "FB-DATA", "FB-MODE", "FB-MEMORY")
"""What stops a net from learning comes before what makes it worse, and that before what costs memory and time."""


class Finding(NamedTuple):
    """A mistake: its code, the user's line, why it is one, and what to write instead."""

    code: str
    file: str
    line: int
    why: Text
    fix: Text

    def __str__(self) -> str:
        title = CODES[self.code][0]
        place = f"{self.file}:{self.line}: " if self.file else ""
        return f"{place}{title} [{self.code}]\n  {self.why}\n  {Text('fix', '改法')}: {self.fix}"


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """The gravest first; each code once a line, and nothing that follows from another."""
    once = list({(f.code, f.file, f.line): f for f in findings}.values())
    hidden = {code for f in once for code in HIDES.get(f.code, ())}
    kept = [f for f in once if f.code not in hidden]
    return sorted(kept, key=lambda f: (RANKS.index(f.code.rpartition("-")[0]), f.code, f.file, f.line))
