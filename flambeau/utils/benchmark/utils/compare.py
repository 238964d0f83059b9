"""Tables of measurements."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from math import ceil, log10

from flambeau.utils.benchmark.utils.common import Measurement, ordered_unique, select_unit, trim_sigfig, unit_to_english

__all__ = ["Colorize", "Compare"]

_BEST, _GOOD, _BAD, _VERY_BAD, _BOLD = "\033[92m", "\033[34m", "\033[2m\033[91m", "\033[31m", "\033[1m"
_END = "\033[0m"


class Colorize(enum.Enum):
    """Over what the best and worst times of a table are looked for."""

    NONE = "none"
    COLUMNWISE = "columnwise"
    ROWWISE = "rowwise"


class Compare:
    """A table for each label: a row for each sub-label, number of threads and environment, a column for each description.

    >>> from flambeau.utils.benchmark import Compare, Measurement, TaskSpec
    >>> times = {("add", 10): 2e-6, ("mul", 10): 3e-6, ("add", 100): 2.5e-6}
    >>> results = [Measurement(1, [t], TaskSpec("", "", "", "ops", op, str(n))) for (op, n), t in times.items()]
    >>> Compare(results).print()
    [--------- ops ---------]
               |   10  |  100
    1 threads: --------------
          add  |  2.0  |  2.5
          mul  |  3.0  |
    <BLANKLINE>
    Times are in microseconds (us).
    <BLANKLINE>
    """

    def __init__(self, results: list[Measurement]) -> None:
        self._results: list[Measurement] = []
        self.extend_results(results)
        self._trim_significant_figures = False
        self._colorize = Colorize.NONE
        self._highlight_warnings = False

    def __str__(self) -> str:
        return "\n".join(self._render())

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Adds measurements."""
        results = list(results)
        for result in results:
            if not isinstance(result, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(result)} instead.")
        self._results += results

    def trim_significant_figures(self) -> None:
        """Shows only digits that mean something."""
        self._trim_significant_figures = True

    def colorize(self, rowwise: bool = False) -> None:
        """Shows the best and worst times of each column, or row, in colours."""
        self._colorize = Colorize.ROWWISE if rowwise else Colorize.COLUMNWISE

    def highlight_warnings(self) -> None:
        """Marks times that vary much."""
        self._highlight_warnings = True

    def print(self) -> None:
        """Prints the tables."""
        print(str(self))

    def _render(self) -> list[str]:
        merged = Measurement.merge(self._results)
        by_label: dict = {}
        for m in merged:
            by_label.setdefault(m.label, []).append(m)
        return [self._table(group) for group in by_label.values()]

    def _color(self, text: str, m: Measurement | None, best: float) -> str:
        if m is None or self._colorize is Colorize.NONE or not text.strip():
            return text
        if m.median <= best * 1.001:
            return _BOLD + _BEST + text + _END
        if m.median <= best * 1.1:
            return _GOOD + text + _END
        if m.median > best * 2:
            return _VERY_BAD + text + _END
        return _BAD + text + _END if m.median > best * 1.25 else text

    def _column(self, cells: list[Measurement | None], scale: float) -> list[str]:
        """The texts of a column's times."""
        there = [m for m in cells if m is not None]
        before = {id(m): ceil(log10(m.median / scale)) for m in there}
        decimals = min(max(m.significant_figures - before[id(m)], 0) for m in there) if self._trim_significant_figures else 1
        width = max(before.values()) + decimals + (decimals > 0)
        spread = self._highlight_warnings and any(m.has_warnings for m in there)
        texts = []
        for m in cells:
            text = ""
            if m is not None:
                value = m.median / scale
                text = (
                    f"{trim_sigfig(value, m.significant_figures) if self._trim_significant_figures else value:{width}.{decimals}f}"
                )
                if spread:
                    text += f"{f' (! {m.iqr / m.median * 100:.0f}%)' if m.has_warnings else '':>7}"
            texts.append(text)
        widest = max(map(len, texts))
        return [text or " " * widest for text in texts]

    def _table(self, group: list[Measurement]) -> str:
        unit, scale = select_unit(min(m.median for m in group))
        columns = ordered_unique(m.description for m in group)
        rows = sorted(ordered_unique((m.num_threads, m.env, m.as_row_name) for m in group), key=lambda row: row[:2])
        found = {(m.num_threads, m.env, m.as_row_name, m.description): m for m in group}
        cells = [[found.get((*row, column)) for row in rows] for column in columns]
        several = len({env for _, env, _ in rows}) > 1
        indent = 4 + several * max(len(env) for _, env, _ in rows)
        names, shown = [], None
        for threads, env, name in rows:
            first, shown = shown != (threads, env), (threads, env)
            names.append("  " + (f"({env})" if several and first else "").ljust(indent) + name)
        texts = [names, *[self._column(column, scale) for column in cells]]
        heads = ["", *[str(column) if column else "" for column in columns]]
        widths = [max(map(len, [head, *column])) for head, column in zip(heads, texts, strict=True)]
        header = "  |  ".join([head.center(width) for head, width in zip(heads, widths, strict=True)])
        lines, threads_before = [], None
        for i, (threads, _, _) in enumerate(rows):
            if threads != threads_before:
                lines.append(f"{threads} threads: ".ljust(len(header), "-"))
                threads_before = threads
            line = [names[i].ljust(widths[0])]
            for j, column in enumerate(cells):
                others = [row[i] for row in cells] if self._colorize is Colorize.ROWWISE else column
                best = min(m.median for m in others if m is not None)
                line.append(self._color(texts[j + 1][i].center(widths[j + 1]), column[i], best))
            lines.append("  |  ".join(line))
        title = f" {group[0].label or ''} ".center(len(header) - 2, "-")
        note = "(! XX%) Measurement has high variance, where XX is the IQR / median * 100.\n"
        marked = self._highlight_warnings and any(m.has_warnings for m in group)
        return "\n".join(
            [f"[{title}]", header, *lines, "", f"Times are in {unit_to_english(unit)}s ({unit}).", note if marked else ""]
        )
