"""Sections of a book and their cells: from d2l's Markdown, Jupyter notebooks and the scripts of a sphinx gallery."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = {".md", ".ipynb", ".py"}
FRAMEWORK = "pytorch"

_FENCE = re.compile(r"^```\{\.python[^\n]*\}[^\n]*\n(.*?)^```", re.M | re.S)
_TAB = re.compile(r"^(?:#@tab|%%tab)\s+(.+)$", re.M)
_MAGIC = re.compile(r"^(\s*)[%!].*$", re.M)
_RULE = re.compile(r"(?:#{20,}|# ?%%.*)$")
# What is left of a number by its name: of epochs, of episodes, of other rounds, and of the samples in a batch.
_NAMES = [
    (re.compile(r"(?i)^(?:n|num|max)?_*epochs?$"), range(3, 1 << 40), 2),
    (re.compile(r"(?i)^(?:n|num|max)?_*episodes$"), range(5, 1 << 40), 4),
    (re.compile(r"(?i)^(?:n|num|max)?_*(?:iters?|iterations?)$"), range(21, 1 << 40), 20),
    (re.compile(r"(?i)^(?:train_|test_)?batch_size$"), range(32, 257), 8),
]
_ROUNDS, _LONG = 20, 300  # a `for _ in range(300)` or more is a training loop or a measurement


@dataclass
class Section:
    """One page of a book: where it stands below the book's folder, and its cells in order."""

    name: str
    cells: list[str]


def sections(book: Path) -> Iterator[Section]:
    """All sections below a folder that have code for PyTorch, or the one that a file is."""
    root, files = (book.parent, [book]) if book.is_file() else (book, sorted(book.rglob("*")))
    for file in files:
        name = file.relative_to(root)
        if file.suffix not in SUFFIXES or any(part.startswith(".") for part in name.parts) or "_origin" in file.stem:
            continue
        found = [shorten(text) for text in map(without_magic, _READERS[file.suffix](file.read_text("utf-8"))) if text]
        if found:
            yield Section(str(name), found)


def _markdown(text: str) -> list[str]:
    """The cells of a page of Dive into Deep Learning that are for PyTorch.

    A cell names its frameworks in a line ``#@tab pytorch, jax`` or ``%%tab all``. Where others do, one without is the
    first framework's, which is not PyTorch.
    """
    cells = [match.group(1) for match in _FENCE.finditer(text)]
    tabs = [_TAB.search(cell) for cell in cells]
    if not any(tabs):
        return cells
    chosen = []
    for cell, tab in zip(cells, tabs):
        if tab and {FRAMEWORK, "all"} & {word.strip() for word in tab.group(1).split(",")}:
            chosen.append(_TAB.sub("", cell))
    return chosen if any(FRAMEWORK in tab.group(1) for tab in tabs if tab) or "torch" in "".join(chosen) else []


def _notebook(text: str) -> list[str]:
    cells = json.loads(text)["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def _gallery(text: str) -> list[str]:
    """The blocks of a script between its rules: ``# %%`` or a line of ``#``; the text between them is comments.

    What looks like a rule within a statement (a string of many lines, say) is none.
    """
    statements = _statements(text)
    if statements is None or "torch" not in text:
        return []
    inside = {line for node in statements for line in range(node.lineno, node.end_lineno or 0)}
    parts: list[list[str]] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        if _RULE.match(line) and number not in inside:
            parts.append([])
        else:
            parts[-1].append(line)
    return ["\n".join(part) for part in parts]


_READERS = {".md": _markdown, ".ipynb": _notebook, ".py": _gallery}


def _statements(text: str) -> list[ast.stmt] | None:
    """The statements of a text, if it is Python."""
    try:
        return ast.parse(text).body
    except SyntaxError:
        return None


def without_magic(cell: str) -> str:
    """A cell without what only a notebook understands: ``%matplotlib inline``, ``!pip install``; "" where nothing is left."""
    text = cell.strip("\n")
    if _statements(text) is None:
        text = _MAGIC.sub(r"\1pass", text)
    statements = _statements(text)
    if statements is None:
        return text  # the reader is told where it runs
    docstring = len(statements) == 1 and isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant)
    return "" if docstring or all(isinstance(s, ast.Pass) for s in statements) else text


def shorten(cell: str) -> str:
    """A cell whose training ends soon: small numbers of epochs, of rounds of long loops, and of samples in a batch.

    >>> print(shorten("num_epochs, lr = 50, 0.1"))
    num_epochs, lr = 2, 0.1
    >>> print(shorten("train(net, max_epochs=10)"))
    train(net, max_epochs=2)
    >>> print(shorten("for step in range(100_000):  # long\\n    update()"))
    for step in range(20):  # long
        update()
    """
    statements = _statements(cell)
    if statements is None:
        return cell
    edits: dict[tuple[int, int, int], int] = {}

    def cap(name: str, value: ast.expr) -> None:
        if isinstance(value, ast.Constant) and isinstance(value.value, int):
            for pattern, many, few in _NAMES:
                if pattern.match(name) and value.value in many:
                    note(value, few)

    def note(value: ast.Constant, few: int) -> None:
        edits[(value.lineno, value.col_offset, value.end_col_offset or 0)] = few

    for node in ast.walk(ast.Module(statements, [])):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                cap(name, value)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                for one, value in zip(names, values):
                    cap(getattr(one, "id", ""), value)
            case ast.keyword(arg=str(name), value=value):
                cap(name, value)
            case ast.arguments(args=args, defaults=defaults) if defaults:
                for arg, value in zip(args[-len(defaults) :], defaults):
                    cap(arg.arg, value)
            case ast.For(iter=ast.Call(func=ast.Name(id="range"), args=[*_, ast.Constant(value=int(count)) as value])) if (
                count >= _LONG
            ):
                note(value, _ROUNDS)
    lines = [line.encode() for line in cell.splitlines()]
    for (row, start, end), few in sorted(edits.items(), reverse=True):
        line = lines[row - 1]
        lines[row - 1] = line[:start] + str(few).encode() + line[end:]
    return b"\n".join(lines).decode()
