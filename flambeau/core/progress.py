"""Bars that show how far something has come, where it takes longer than two seconds and somebody looks: on terminals and in
notebooks.

They are tqdm's where that is installed (``pip install tqdm``), else a line of our own. Nothing is written to files and pipes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TextIO

DELAY = 2.0  # seconds before a bar appears
_EVERY = 0.1  # seconds between two pictures of it


class Bar:
    """A line that is rewritten: ``what:  45 % [9/20, 3 s, 4 s to go]``. It takes tqdm's arguments, as far as they concern a line.

    >>> import io
    >>> file = io.StringIO()
    >>> with Bar(range(4), desc="files", file=file) as files:
    ...     sum(files)
    6
    >>> file.getvalue().split("\\r")[-3].strip()
    'files: 100 % [4/4, 0 s, 0 s to go]'
    """

    def __init__(
        self,
        iterable: Iterable[Any] = (),
        desc: str | None = None,
        total: float | None = None,
        file: TextIO | None = None,
        delay: float = 0.0,
        disable: bool = False,
        **settings: Any,
    ) -> None:
        self.iterable, self.desc, self.n = iterable, desc, 0.0
        self.total = len(iterable) if total is None and isinstance(iterable, Sized) else total
        self.disable = disable
        self._file = sys.stderr if file is None else file
        self._start = time.monotonic()
        self._next = self._start + delay
        self._shown = 0  # letters on the line

    def __iter__(self) -> Iterator[Any]:
        try:
            for item in self.iterable:
                yield item
                self.update()
        finally:
            self.close()

    def update(self, n: float = 1) -> None:
        """Says that ``n`` more are done."""
        self.n += n
        now = time.monotonic()
        if not self.disable and (now >= self._next or (self._shown and self.n == self.total)):
            self._next = now + _EVERY
            self._write(self._line(now - self._start))

    def close(self) -> None:
        """Takes the line away."""
        if self._shown:
            self._write("")

    def set_description(self, desc: str | None = None, refresh: bool = True) -> None:
        """Says what is being done."""
        self.desc = desc

    def set_postfix(self, *args: Any, **kwargs: Any) -> None:
        """Figures that tqdm puts behind its bar; a line leaves them out."""

    def _line(self, seconds: float) -> str:
        begin = f"{self.desc}: " if self.desc else ""
        if not self.total:
            return f"{begin}{self.n:g} [{seconds:.0f} s]"
        left = seconds * (self.total - self.n) / self.n if self.n else 0.0
        return f"{begin}{self.n / self.total:4.0%} [{self.n:g}/{self.total:g}, {seconds:.0f} s, {left:.0f} s to go]".replace(
            "%", " %", 1
        )

    def _write(self, line: str) -> None:
        self._file.write("\r" + line.ljust(self._shown) + ("" if line else "\r"))
        self._file.flush()
        self._shown = len(line)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def bar_class() -> Any:
    """The class of bars: tqdm's, which knows notebooks, or ``Bar``."""
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped]
    except ImportError:
        return Bar
    return tqdm


def bar(
    items: Iterable[Any] = (), what: str | None = None, total: float | None = None, wanted: bool = True, **settings: Any
) -> Any:
    """A bar over ``items``, or one that is told of ``total`` by ``update``; it appears after two seconds and is gone at the end.

    >>> from flambeau.core.progress import bar
    >>> with bar(range(3), "files") as files:
    ...     list(files)
    [0, 1, 2]
    """
    hidden = not (wanted and _somebody_looks())
    kind = Bar if hidden else bar_class()  # what shows nothing need not be imported
    return kind(items if total is None else (), desc=what, total=total, delay=DELAY, leave=False, disable=hidden, **settings)


def _somebody_looks() -> bool:
    """Whether stderr is a terminal, or a notebook shows it."""
    return sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)
