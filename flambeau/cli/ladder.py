"""``flambeau ladder``: the same small net trained in many ways, one script a rung, and how they compare."""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import re
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flambeau import compat
from flambeau.cli.picture import picture_path, save_curves
from flambeau.cli.text import Progress, table

# Rungs that compute the same mathematics from the same numbers, by the number their file name starts with.
SAME = {
    "the net by hand": ("01", "02", "03", "04", "05", "06", "07"),
    "nn with SGD": ("08", "11"),
    "nn with Adam": ("09", "10"),
}

# Rounding differs between them (NumPy and tensors sum in another order), and training amplifies it: real PyTorch's own
# rungs are 6e-7 apart within 20 steps and 2e-2 after 500.
AGREE_STEPS = 20
AGREE_RTOL = 1e-5


@dataclass
class Rung:
    """One script, and what came of running it."""

    path: Path
    title: str
    new: str
    lines: int
    losses: list[float]
    step_us: float

    @property
    def number(self) -> str:
        return self.path.name[:2]


def main(arguments: Sequence[str]) -> int:
    """``flambeau ladder [--steps N] [--out FILE]``"""
    parser = argparse.ArgumentParser(
        prog="flambeau ladder",
        description="Run the rungs: scripts that train one small net in many ways, from NumPy by hand to an own layer. "
        "All start from the same data, and from the same weights where they compute the same.",
    )
    parser.add_argument("--steps", type=int, default=500, help="training steps on each rung (default: 500)")
    parser.add_argument("--out", metavar="FILE", type=picture_path, help="draw the loss curves into FILE: .html, .svg or .png")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps: expected at least 1, got {options.steps}")

    compat.install()
    progress = Progress()
    scripts = sorted(scripts_folder().glob("*.py"))
    rungs = []
    for i, path in enumerate(scripts):
        where = f"[{i + 1:2}/{len(scripts)}] {path.stem}"
        progress.show(where)
        rung = climb(path, options.steps, lambda step, where=where: progress.show(f"{where}: step {step}"))  # type: ignore[misc]
        ending = f"loss {_loss(rung.losses[0])} -> {_loss(rung.losses[-1])}" if rung.losses else "done"
        progress.done(f"{where}: {ending}")
        rungs.append(rung)

    print(f"\n{summary(rungs)}\n")
    verdicts = [agreement(name, [r for r in rungs if r.number in numbers]) for name, numbers in SAME.items()]
    for _, sentence in verdicts:
        print(sentence)
    if options.out:
        save_curves(options.out, *_curves(rungs), below=summary(rungs))
        print(f"\nLoss curves: {options.out}")
    return 0 if all(agrees for agrees, _ in verdicts) else 1


def scripts_folder() -> Path:
    """The ladder's scripts: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "examples" / "ladder"
    return inside if inside.is_dir() else package.parent / "examples" / "ladder"


def climb(path: Path, steps: int, on_step: Callable[[int], None]) -> Rung:
    """Run one rung as ``python path steps`` would, and read the list `losses` that it leaves."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    title, _, new = (ast.get_docstring(tree) or path.stem).partition("\n")[0].partition(": ")
    printed = _Clock(on_step)
    argv, sys.argv = sys.argv, [str(path), str(steps)]
    start = time.perf_counter()
    try:
        with contextlib.redirect_stdout(printed):
            names = runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = argv
    whole = time.perf_counter() - start
    losses = names.get("losses", [])
    step_us = 1e6 * (printed.seconds_a_step() or (whole / len(losses) if losses else 0.0))
    return Rung(path, title, new, _code_lines(source, tree), losses, step_us)


class _Clock(io.TextIOBase):
    """Takes what a rung prints, and notes when it says that it is at which step."""

    def __init__(self, on_step: Callable[[int], None]) -> None:
        self.on_step = on_step
        self.stamps: list[tuple[int, float]] = []
        self.at_line_start = True

    def write(self, text: str) -> int:
        found = re.match(r"(?:Epoch:)?(\d+)\b", text) if self.at_line_start else None
        self.at_line_start = text.endswith("\n")
        if found:
            self.stamps.append((int(found[1]), time.perf_counter()))
            self.on_step(int(found[1]) + 1)
        return len(text)

    def seconds_a_step(self) -> float | None:
        """Between the first and the last line printed: without start-up and without the first steps."""
        if len(self.stamps) < 2:
            return None
        (first, start), (last, end) = self.stamps[0], self.stamps[-1]
        return (end - start) / (last - first) if last > first else None


def _code_lines(source: str, tree: ast.Module) -> int:
    """Lines of code: neither blank, nor comment, nor the docstring on top."""
    body = source.splitlines()[tree.body[0].end_lineno or 0 :]
    return sum(1 for line in body if line.strip() and not line.lstrip().startswith("#"))


def _loss(value: float) -> str:
    return f"{value:.6g}"


def summary(rungs: Sequence[Rung]) -> str:
    """The table at the end."""
    rows = []
    for r in rungs:
        picked = [_loss(losses[0]) if losses else "" for losses in (r.losses, r.losses[99:], r.losses[-1:])]
        step = f"{r.step_us:.0f}" if r.losses else ""
        rows.append([f"{r.number} {r.title}", r.new.rstrip("."), str(r.lines), *picked, step])
    head = ["rung", "what is new on it", "lines", "first loss", "100th", "last", "us a step"]
    return table(head, rows, right=range(2, 7))


def agreement(name: str, rungs: Sequence[Rung]) -> tuple[bool, str]:
    """Whether `rungs` have the same losses, and a sentence that says so."""
    first, *others = rungs

    def apart(steps: int) -> float:
        return max(abs(a - b) / abs(a) for r in others for a, b in zip(first.losses[:steps], r.losses[:steps], strict=True))

    steps = min(AGREE_STEPS, len(first.losses))
    early, hundred = apart(steps), apart(100)
    agrees = early <= AGREE_RTOL
    verdict = "agree" if agrees else "DO NOT AGREE"
    sentence = f"Rungs {_numbers(rungs)} compute the same mathematics ({name}) and {verdict}: "
    sentence += f"their first {steps} losses differ by {early:.1e} of the loss at most"
    if not agrees:
        sentence += f", expected {AGREE_RTOL:.0e}"
    elif len(first.losses) > steps:
        sentence += f", their first {min(100, len(first.losses))} by {hundred:.1e}"
    return agrees, sentence + "."


def _numbers(rungs: Sequence[Rung]) -> str:
    """``01-07`` where they follow each other, else ``08, 11``."""
    first, last = rungs[0].number, rungs[-1].number
    if len(rungs) > 2 and int(last) - int(first) == len(rungs) - 1:
        return f"{first}-{last}"
    return ", ".join(r.number for r in rungs)


def _curves(rungs: Sequence[Rung]) -> tuple[str, list[tuple[str, list[list[float]]]]]:
    """The picture's title and its curves: one colour for all rungs of the same mathematics."""
    grouped = []
    taken: set[str] = set()
    for rung in rungs:
        if not rung.losses or rung.number in taken:
            continue
        name, numbers = next(
            ((name, numbers) for name, numbers in SAME.items() if rung.number in numbers), (rung.title, (rung.number,))
        )
        taken.update(numbers)
        members = [r for r in rungs if r.number in numbers]
        grouped.append((f"{_numbers(members)}: {name}", [r.losses for r in members]))
    return "The ladder: loss at every step", grouped
