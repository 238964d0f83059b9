"""What the documentation shows is true: examples of the ops, Python code on the pages, links, and that the READMEs agree.

As a program, ``python tests/test_docs.py page.md`` runs the Python code of a page.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import flambeau.nn.native  # noqa: F401  (fills the registry, as the next)
import flambeau.ops.deformable  # noqa: F401
import flambeau.ops.regions  # noqa: F401
from flambeau.ops.record import registry
from tools.pages import FLAGS, code_blocks, run_blocks

ROOT = Path(__file__).parent.parent
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
OPS = sorted({id(op): op for op in registry.values()}.values(), key=lambda op: op.name)


def run_page(page: Path) -> None:
    """Runs a page's Python blocks. An op that the page defines must pass the tests that are generated from every record."""
    known = set(registry)
    names = run_blocks(page)
    for name in sorted(set(registry) - known):
        import test_ops  # stands beside this file, which is the program here

        op = registry[name]
        run_example(op, names)
        test_ops.test_gradients(op)
        test_ops.test_error_samples(op)
        test_ops.test_out(op)
        with pytest.MonkeyPatch.context() as patch:
            test_ops.test_immediate_equals_recorded(op, patch)


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name != "book"], ids=lambda p: p.name)  # see test_book.py
def test_code_of_page_runs(page: Path, tmp_path: Path) -> None:
    blocks = page.read_text(encoding="utf-8").count("```python\n")
    assert len(code_blocks(page, "python")) == blocks, "code that is not found would pass"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLAMBEAU_")}
    # Compiled on first sight: whether a second one is worth it would depend on how fast the machine is.
    environment |= {
        "FLAMBEAU_COMPILE": "1",
        "FLAMBEAU_COMPILE_AFTER": "0",
        "FLAMBEAU_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-W", "error", __file__, str(page)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout + result.stderr


# pytest's own collection of doctests does not see these: a record's public function is made elsewhere.
@pytest.mark.parametrize("op", [op for op in OPS if ">>>" in (op.check.__doc__ or "")], ids=lambda op: op.name)
def test_example_of_op(op) -> None:
    run_example(op, {})


def run_example(op, names: dict) -> None:
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    found = doctest.DocTestParser().get_doctest(op.check.__doc__, names, op.name, op.check.__code__.co_filename, None)
    report: list[str] = []
    runner.run(found, out=report.append)
    assert not runner.failures, "".join(report)


def test_readme_programs_run() -> None:
    own, disguised = code_blocks(READMES[0], "python")
    for code in (own, disguised):
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert (result.returncode, result.stderr) == (0, "")


def test_readmes_are_in_step() -> None:
    english, chinese = READMES
    assert code_blocks(english, "python") == code_blocks(chinese, "python")

    def commands(path: Path) -> list[str]:  # the words after # are translated
        return [line.split("#")[0].strip() for block in code_blocks(path, "sh") for line in block.splitlines()]

    assert commands(english) == commands(chinese)

    def headings(path: Path) -> list[int]:
        return [len(marks) for marks in re.findall(r"^(#+) ", path.read_text(encoding="utf-8"), re.MULTILINE)]

    assert headings(english) == headings(chinese)


def anchors(page: Path) -> set[str]:
    """What the headings of a page are linked to by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            linked = page.parent / target if target else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), anchor


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))


def test_every_variable_of_the_environment_is_in_the_table():
    told = set(re.findall(r"^\| `(FLAMBEAU_\w+)` \|", (ROOT / "docs/debugging.md").read_text(), re.MULTILINE))
    read = {
        name
        for path in (*ROOT.glob("flambeau/**/*.py"), *ROOT.glob("*.py"))
        for name in re.findall(r"[\"'](FLAMBEAU_[A-Z_]+)[\"']", path.read_text())
    }
    assert told == read


def test_the_floors_stand_in_the_order_of_the_contract():
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    place = {name.strip().removeprefix("flambeau."): k for k, layer in enumerate(layers) for name in layer.split("|")}
    table = (ROOT / "docs/architecture.md").read_text().partition("| floor | what it is |\n|---|---|\n")[2].partition("\n\n")[0]
    told = [place[name] for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert told == sorted(told) and len(told) == len(place)
