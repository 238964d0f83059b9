"""Runs a book's code under PyTorch and under flambeau and holds the printed numbers against each other.

    python -m tools.books BOOK [BOOK ...] --torch 'PYTHON' [--only WORD,WORD] [--table FILE]

BOOK is the reader's own copy: a folder (or one file) of Dive into Deep Learning's Markdown, of notebooks, or of the
scripts of PyTorch's tutorials. Each section's cells run in order in one process. What would be downloaded is replaced by
small synthetic data, and training loops are cut short, the same on both sides. A section that differs is run under PyTorch
once more with gradients changed in their last bits and clocks that go faster: what this changes (chaotic losses, times) is
not counted. One that still differs is run on both sides in float64; if that agrees, what differed is rounding.

Packages that a book needs (matplotlib, pandas, torchvision, ...) must be importable on both sides, e.g. by PYTHONPATH.
PyTorch's numbers are kept in --work and are not made anew; --afresh makes them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tools.books import cells, table
from tools.books.compare import Verdict, compare

SESSION = str(Path(__file__).with_name("session.py"))
PRELOAD = ["torch", "torchvision", "matplotlib.pyplot", "pandas", "requests", "d2l.torch"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.books", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("books", nargs="+", type=Path, metavar="BOOK")
    parser.add_argument("--torch", required=True, metavar="COMMAND", help="a Python that has PyTorch, and its arguments")
    parser.add_argument("--flambeau", default=f"{sys.executable} -m flambeau run", metavar="COMMAND")
    parser.add_argument("--only", default="", help="only sections whose name contains one of these words")
    parser.add_argument("--limit", type=int, default=120, help="seconds of processor time for one section")
    parser.add_argument("--work", type=Path, default=Path("out/books"), help="where sections run and results are kept")
    parser.add_argument("--afresh", action="store_true", help="make PyTorch's numbers anew")
    parser.add_argument("--table", type=Path, help="write the table of results there")
    options = parser.parse_args(arguments)

    results = {book: _book(book.resolve(), options) for book in options.books}
    if options.table:
        options.table.write_text(table.page(results), "utf-8")
    return 0


def _book(book: Path, options: argparse.Namespace) -> dict[str, tuple[Verdict, str]]:
    """The verdict of each section, and its notes."""
    words = [word for word in options.only.split(",") if word]
    found = [section for section in cells.sections(book) if not words or any(word in section.name for word in words)]
    work = options.work.resolve() / book.name
    missing = [s for s in found if options.afresh or not _is_there(work, "torch", s)]
    _run(options, options.torch, "torch", book, missing, work)
    _run(options, options.flambeau, "flambeau", book, found, work)
    again = [s for s in found if not _verdict(work, s.name)[0].agrees]
    again = [s for s in again if options.afresh or not _is_there(work, "again", s)]
    _run(options, options.torch, "again", book, again, work, "perturbed")
    differing = [s for s in found if _differs(_verdict(work, s.name)[0])]
    missing = [s for s in differing if options.afresh or not _is_there(work, "torch64", s)]
    _run(options, options.torch, "torch64", book, missing, work, "double")
    _run(options, options.flambeau, "flambeau64", book, differing, work, "double")
    results = {}
    for section in found:
        results[section.name] = verdict, note = _verdict(work, section.name)
        print(f"{section.name:90} {table.words(verdict, note)}", flush=True)
    return results


def _report(work: Path, side: str, name: str) -> Path:
    return work / side / f"{name.replace(os.sep, '.')}.jsonl"


def _key(section: cells.Section) -> str:
    return hashlib.sha1("\n".join(section.cells).encode()).hexdigest()


def _is_there(work: Path, side: str, section: cells.Section) -> bool:
    """Whether there are results of these very cells."""
    file = _report(work, side, section.name)
    return file.exists() and f'"key": "{_key(section)}"' in file.read_text()


def _records(work: Path, side: str, name: str) -> tuple[list[dict], str]:
    """The records of a section's cells, and how its process ended."""
    file = _report(work, side, name)
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    ended = next((line["ended"] for line in lines if "ended" in line), "")
    broken = next((line["broken"].strip().splitlines()[-1] for line in lines if "broken" in line), "")
    return [line for line in lines if "cell" in line], ended or broken


def _verdict(work: Path, name: str) -> tuple[Verdict, str]:
    theirs, ended = _records(work, "torch", name)
    ours, _ = _records(work, "flambeau", name)
    again = _records(work, "again", name)[0] or None
    errors = [record["error"] for record in theirs if record["error"]]
    verdict = compare(theirs, ours, again)
    if _differs(verdict):
        precise = compare(_records(work, "torch64", name)[0], _records(work, "flambeau64", name)[0], again)
        verdict.rounding = precise.agrees and precise.cells == verdict.cells
    return verdict, ended or (errors[0] if errors else "")


def _differs(verdict: Verdict) -> bool:
    """Whether all cells ran, and printed other numbers."""
    return verdict.ran == verdict.cells and not verdict.agrees


def _run(
    options: argparse.Namespace,
    command: str,
    side: str,
    book: Path,
    sections: list[cells.Section],
    work: Path,
    variation: str = "",
) -> None:
    """Runs sections on one side, each in a folder that looks like its place in the book."""
    if not sections:
        return
    (work / side).mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "name": s.name,
            "cells": s.cells,
            "key": _key(s),
            "folder": str(_folder(book, work / "run" / side, s.name)),
            "report": str(_report(work, side, s.name)),
        }
        for s in sections
    ]
    root = book if book.is_dir() else book.parent
    specification = work / f"{side}.json"
    specification.write_text(
        json.dumps(
            {
                "sections": rows,
                "search": [str(root)],
                "preload": PRELOAD,
                "limit": options.limit,
                "variation": variation,
            }
        )
    )
    environment = dict(os.environ, PYTHONHASHSEED="0", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    subprocess.run([*shlex.split(command), SESSION, str(specification)], env=environment, check=True)


def _folder(book: Path, root: Path, name: str) -> Path:
    """An empty folder for a section, with the book's other folders (its pictures, its package) beside it as links."""
    place = root / name.replace(os.sep, ".") / "book"
    shutil.rmtree(place.parent, ignore_errors=True)
    place.mkdir(parents=True)
    source = book if book.is_dir() else book.parent
    parts = Path(name).parent.parts
    for depth in range(len(parts) + 1):
        here = place.joinpath(*parts[:depth])
        here.mkdir(exist_ok=True)
        inside = parts[depth] if depth < len(parts) else None
        for entry in source.joinpath(*parts[:depth]).iterdir():
            if entry.name != inside and not entry.name.startswith(".git") and (entry.is_dir() and inside is not None):
                (here / entry.name).symlink_to(entry)
    return place.joinpath(*parts)


if __name__ == "__main__":
    sys.exit(main())
