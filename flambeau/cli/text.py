"""Plain text for terminals: aligned tables, and progress that overwrites itself where it can."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns aligned under their headings; the columns numbered in `right` are flush right.

    >>> print(table(["op", "us"], [["加法", "4"], ["mm", "12"]], right=[1]))
    op    us
    ----  --
    加法   4
    mm    12
    """
    widths = [max(map(_width, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        spaces = [" " * (w - _width(c)) for c, w in zip(cells, widths, strict=True)]
        return "  ".join(s + c if i in right else c + s for i, (c, s) in enumerate(zip(cells, spaces, strict=True))).rstrip()

    return "\n".join([line(head), "  ".join("-" * w for w in widths), *map(line, rows)])


def _width(text: str) -> int:
    """How many columns of a terminal a text takes: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


class Progress:
    """One line that is rewritten on a terminal; elsewhere only what is final is printed, so that logs stay short."""

    def __init__(self) -> None:
        self.stream = sys.stdout
        self.live = self.stream.isatty()

    def show(self, text: str) -> None:
        if self.live:
            self.stream.write(f"\r\x1b[K{text}")
            self.stream.flush()

    def done(self, text: str) -> None:
        self.stream.write(f"\r\x1b[K{text}\n" if self.live else f"{text}\n")
        self.stream.flush()
