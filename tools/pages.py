"""Pages whose code is true: their Python blocks run in order, as one program."""

from __future__ import annotations

import doctest
import re
import textwrap
from pathlib import Path

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def code_blocks(page: Path, language: str = r"\w*") -> list[str]:
    """The blocks of a page that are marked as ``language``, by default all; those in lists are indented."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in found]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def run_blocks(page: Path) -> dict:
    """Runs a page's Python blocks; in blocks that begin with ``>>>`` the output counts. Gives the names that they have made.

    Raises ``SystemExit`` with doctest's report on stdout where an output is another.
    """
    names: dict = {"__name__": "__main__"}
    for number, block in enumerate(code_blocks(page, "python")):
        where = f"{page.name}, Python block {number + 1}"
        if block.startswith(">>>"):
            runner = doctest.DocTestRunner(optionflags=FLAGS)
            example = doctest.DocTestParser().get_doctest(block, names, where, None, None)
            runner.run(example, clear_globs=False)
            names.update(example.globs)  # DocTest works on a copy
            if runner.failures:
                raise SystemExit(1)
        else:
            exec(compile(block, where, "exec"), names)
    return names
