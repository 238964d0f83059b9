"""Runs a short program for each of many packages on flambeau and on PyTorch, and compares the numbers that they print.

    python tools/packages/compare.py --torch PYTHON                      # every package that both environments have
    python tools/packages/compare.py --torch PYTHON --only timm,peft     # some
    python tools/packages/compare.py --torch PYTHON --side flambeau      # PyTorch's numbers from the last run
    python tools/packages/compare.py --table docs/packages.md            # the table of all that has been run, from its results

``--flambeau`` is the Python of an environment with flambeau and the packages (without ``--flambeau``: the one that runs this);
``--torch`` one with PyTorch and the same packages. ``pip install --no-deps`` puts packages beside flambeau without PyTorch, and so
does pip itself after ``flambeau shim --install``. ``--sites FOLDER`` is for packages that were installed one to a folder
(``pip install --target FOLDER/timm timm``).

A program, ``cases/case_NAME.py`` (``NAME.py`` would hide a package of that name), names the distributions that it needs in its
first line, and in a second one those that it is about, if that is not just the first. It prints lines ``RESULT name numbers``,
which must agree to 0.2 %: that is what a few steps of training make of the last bit. Nothing is downloaded: models are small and
made on the spot.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?|nan|inf")
VERSIONS = "import sys, importlib.metadata as m\nfor n in sys.argv[1:]:\n try: print(n, m.version(n))\n except m.PackageNotFoundError: pass"


@dataclass
class Run:
    """What a program printed with one of the two, and how it ended."""

    results: list[str] = field(default_factory=list)
    returncode: int = 0
    error: str = ""
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)


def program(name: str) -> Path:
    """The file of a program."""
    return HERE / "cases" / f"case_{name}.py"


def needs(case: Path) -> list[str]:
    """The distributions that a program needs."""
    return case.read_text().splitlines()[0].partition(":")[2].split()


def about(case: Path) -> list[str]:
    """Those that it is about."""
    first, second, *_ = case.read_text().splitlines()
    return second.partition(":")[2].split() if second.startswith("# about:") else first.partition(":")[2].split()[:1]


def environment(case: Path, sites: str | None) -> dict[str, str]:
    """The variables of a program: one thread, no downloads, and the folders of its packages where each has its own."""
    env = dict(os.environ, OMP_NUM_THREADS="1", MPLBACKEND="Agg", HF_HUB_OFFLINE="1")
    if sites:
        env["PYTHONPATH"] = os.pathsep.join(os.path.join(sites, name) for name in needs(case))
    return env


def run(case: Path, python: list[str], command: list[str], sites: str | None, limit: float) -> Run:
    """Runs a program in a folder of its own."""
    env, start = environment(case, sites), time.time()
    listed = subprocess.run(
        [*python, "-c", VERSIONS, *needs(case), *about(case)], env=env, capture_output=True, text=True, check=False
    )
    versions = dict(line.split() for line in listed.stdout.splitlines())
    with tempfile.TemporaryDirectory() as folder:
        env.update(YOLO_CONFIG_DIR=folder, TORCH_HOME=folder, HF_HOME=folder)
        try:
            done = subprocess.run(
                [*command, str(case)], env=env, cwd=folder, capture_output=True, text=True, timeout=limit, check=False
            )
            out, err, code = done.stdout, done.stderr, done.returncode
        except subprocess.TimeoutExpired as late:
            out, err, code = (late.stdout or b"").decode(), f"TimeoutExpired: it took longer than {limit:.0f} s", 124
    results = [line.removeprefix("RESULT ") for line in out.splitlines() if line.startswith("RESULT ")]
    errors = [line for line in err.splitlines() if re.match(r"[\w.]*(Error|Exception|Expired|Exit|Interrupt)\b", line)]
    return Run(results, code, (errors or [""])[-1] if code else "", round(time.time() - start, 1), versions)


def differs(a: str, b: str, rtol: float = 2e-3, atol: float = 2e-5) -> bool:
    """Whether two lines say something else, or a number in them is another one."""
    x, y = NUMBER.findall(a), NUMBER.findall(b)
    if NUMBER.sub("#", a) != NUMBER.sub("#", b) or len(x) != len(y):
        return True
    pairs = [(float(p), float(q)) for p, q in zip(x, y, strict=True)]
    return any(p != q and not (p != p and q != q) and not abs(p - q) <= atol + rtol * abs(p) for p, q in pairs)


def verdict(reference: Run, ours: Run) -> str:
    """In words: what came of a program."""
    if reference.returncode:
        return f"does not run on PyTorch here: {reference.error}"
    if ours.returncode:
        return f"stops after {len(ours.results)} of {len(reference.results)} lines: {ours.error}"
    wrong = [a.split()[0] for a, b in zip(reference.results, ours.results, strict=False) if differs(a, b)]
    if wrong or len(reference.results) != len(ours.results):
        return f"differs in {len(wrong)} of {len(reference.results)} lines: {', '.join(wrong)}"
    return f"agrees in {len(reference.results)} line{'s' * (len(reference.results) != 1)}"


def load(results: Path) -> dict[str, dict[str, Run]]:
    """What has been run so far: by program, and by side."""
    if not results.exists():
        return {}
    stored = json.loads(results.read_text())
    return {name: {side: Run(**values) for side, values in sides.items()} for name, sides in stored.items()}


def table(runs: dict[str, dict[str, Run]]) -> str:
    """A Markdown table of everything that ran with PyTorch, and how many packages it is."""
    rows, packages = [], set()
    for name, sides in sorted(runs.items()):
        case = program(name)
        if not case.exists() or len(sides) < 2 or sides["torch"].returncode:
            continue
        versions = {**sides["torch"].versions, **sides["flambeau"].versions}
        packages.update(about(case))
        listed = ", ".join(f"{package} {versions.get(package, '')}".strip() for package in about(case))
        what = ", ".join(dict.fromkeys(line.split()[0].rstrip("0123456789") or line.split()[0] for line in sides["torch"].results))
        outcome = verdict(sides["torch"], sides["flambeau"]).replace("|", "\\|")
        rows.append((listed.lower(), f"| {listed} | [{name}](../tools/packages/cases/case_{name}.py): {what} | {outcome} |"))
    agree = sum("| agrees in" in row for _, row in rows)
    head = f"{len(packages)} packages in {len(rows)} programs, of which {agree} agree."
    return "\n".join([head, "", "| package | what was run | on flambeau |", "|---|---|---|", *[row for _, row in sorted(rows)]])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--torch", default=os.environ.get("PARITY_TORCH_PYTHON", ""), help="the command that runs a program with PyTorch"
    )
    parser.add_argument("--flambeau", default=sys.executable, help="a Python with flambeau")
    parser.add_argument("--sites", help="a folder with a folder for each package")
    parser.add_argument("--only", default="", help="names of programs, with commas in between")
    parser.add_argument("--side", choices=("both", "torch", "flambeau"), default="both")
    parser.add_argument("--limit", type=float, default=600, help="seconds that a program may take")
    parser.add_argument("--results", type=Path, default=Path("packages.json"), help="where results are kept")
    parser.add_argument(
        "--table", type=Path, help="writes the table of all results between the marks in this file, and runs nothing"
    )
    options = parser.parse_args()
    runs = load(options.results)
    if options.table:
        before, mark, _ = options.table.read_text().partition("<!-- made by tools/packages/compare.py -->\n")
        options.table.write_text(f"{before}{mark}\n{table(runs)}\n")
        return
    torch, flambeau = shlex.split(options.torch), shlex.split(options.flambeau)
    sides = {"torch": (torch[:1], torch), "flambeau": (flambeau[:1], [*flambeau, "-m", "flambeau", "run"])}
    wanted = [program(name) for name in options.only.split(",")] if options.only else sorted((HERE / "cases").glob("case_*.py"))
    for case in wanted:
        name = case.stem.removeprefix("case_")
        found = runs.setdefault(name, {})
        for side, (python, command) in sides.items():
            if options.side in ("both", side):
                found[side] = run(case, python, command, options.sites, options.limit)
        stored = {key: {side: asdict(r) for side, r in both.items()} for key, both in runs.items()}
        options.results.write_text(json.dumps(stored, indent=1))
        reference, ours = (
            found.get("torch", Run(returncode=1, error="not run")),
            found.get("flambeau", Run(returncode=1, error="not run")),
        )
        print(f"{name:24} {reference.seconds:5.0f} s {ours.seconds:5.0f} s  {verdict(reference, ours)}", flush=True)
        for a, b in zip(reference.results, ours.results, strict=False):
            if differs(a, b):
                print(f"    PyTorch  {a[:200]}\n    flambeau {b[:200]}")


if __name__ == "__main__":
    main()
