"""What the documentation shows is true: examples of the ops, code in the READMEs, and that the two say the same."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau  # noqa: F401  (fills the registry)
from flambeau.ops.record import registry

ROOT = Path(__file__).parent.parent
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
OPS = sorted({id(op): op for op in registry.values()}.values(), key=lambda op: op.name)


def code_blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


# pytest's own collection of doctests does not see these: a record's public function is made elsewhere.
@pytest.mark.parametrize("op", [op for op in OPS if ">>>" in (op.check.__doc__ or "")], ids=lambda op: op.name)
def test_example_of_op(op) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    found = doctest.DocTestParser().get_doctest(op.check.__doc__, {}, op.name, op.check.__code__.co_filename, None)
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


@pytest.mark.parametrize("page", [*READMES, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_op_of_the_contributing_page_works() -> None:
    """The record that CONTRIBUTING.md writes down is accepted, computes, and has a gradient."""
    (block,) = code_blocks(ROOT / "CONTRIBUTING.md", "python")
    code = block.replace("def hypot(", "def hypot_of_the_page(")
    program = (
        "import numpy as np\nimport flambeau as torch\nfrom flambeau.ops import samples\n"
        "from flambeau.ops.record import pointwise\n" + code + "\n"
        "x, y = torch.tensor([3.0], requires_grad=True), torch.tensor([4.0], requires_grad=True)\n"
        "r = hypot_of_the_page(x, y)\nr.sum().backward()\nprint(r.item(), x.grad.item(), y.grad.item())\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.stderr == ""
    assert [float(v) for v in result.stdout.split()] == pytest.approx([5.0, 0.6, 0.8], rel=1e-6)
