"""The book says what is true: its programs run and print what it shows, its pictures are drawn of them, and both languages are in
step."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.book import BOOK, CHAPTERS, PICTURES, chinese
from tools.pages import code_blocks, prose

ROOT = Path(__file__).parent.parent
HOW_TO = [BOOK.parent / f"{name}.md" for name in ("explain", "notebooks", "performance", "tensorflow")]
PAGES = [BOOK / "index.md", *CHAPTERS, *HOW_TO]


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda p: p.stem)
def test_chapter_runs(page: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLAMBEAU_")} | {
        "PYTHONPATH": str(ROOT),
        "FLAMBEAU_LANG": "en",
    }
    command = [sys.executable, "-W", "error", "-m", "tools.book", "--check", page.stem]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout + result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_languages_are_in_step(page: Path) -> None:
    other = chinese(page)
    assert code_blocks(page) == code_blocks(other)
    for what in (r"^#+ ", r"^\d+\. ", r"^- ", r"^\|", r"!\["):  # headings, exercises, points, rows of tables, pictures
        assert len(re.findall(what, prose(page), re.MULTILINE)) == len(re.findall(what, prose(other), re.MULTILINE)), what

    def linked(text: str) -> list[str]:
        return [target.replace(".zh.md", ".md") for target in re.findall(r"\]\(([^)]*)\)", text)]

    assert linked(prose(page))[1:] == linked(prose(other))[1:]  # the first leads from each language to the other


@pytest.mark.parametrize("page", [*CHAPTERS, *map(chinese, CHAPTERS)], ids=lambda p: p.name)
def test_numbers_come_from_programs(page: Path) -> None:
    """What the text says in numbers stands in a program or in what it prints: there it is checked."""
    shown = "\n".join(code_blocks(page))
    told, _, _ = re.split(r"^## (Try it|练习)$", prose(page), flags=re.MULTILINE)
    text = re.sub(r"^#+ .*$|\]\([^)]*\)|chapters? \d+|第 \d+ 章", "", told, flags=re.MULTILINE)
    for number in re.findall(r"(?<![A-Za-z\d])\d+(?:[.,]\d+)*(?:e[-+]?\d+)?", text):
        assert len(number) < 2 or re.search(rf"(?<!\d){re.escape(number)}(?!\d)", shown), number


def test_table_of_contents_is_complete() -> None:
    for index in (BOOK / "index.md", BOOK / "index.zh.md"):
        linked = re.findall(r"\]\((\d\d-[^)]*)\)", index.read_text(encoding="utf-8"))
        pages = CHAPTERS if index.name == "index.md" else [chinese(page) for page in CHAPTERS]
        assert linked == [page.name for page in pages]


def test_pictures_are_shown() -> None:
    pictures = {picture.stem for picture in (BOOK / "pictures").iterdir()}
    assert pictures == set(PICTURES)
    for name in pictures:
        for page in (BOOK / f"{name}.md", BOOK / f"{name}.zh.md"):
            assert f"](pictures/{name}.svg)" in page.read_text(encoding="utf-8")


def test_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs MkDocs Material: pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    for page in [*CHAPTERS, *map(chinese, CHAPTERS)]:
        assert (tmp_path / "book" / page.stem / "index.html").exists(), f"{page.name} is not in mkdocs.yml"
