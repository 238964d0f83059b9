"""A hook of MkDocs for the site of the documentation: the README is its first page, and links to files that a site has not become
words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent


def on_files(files: Files, config: Any) -> Files:
    """The README becomes ``index.md``."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](").replace("*[中文](README.zh.md)*\n", "")
    files.append(File.generated(config, "index.md", content=readme))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Takes the links out that lead to sources: where they lead, a checkout knows, a site does not. Sessions are marked as such."""
    there = Path(page.file.src_uri).parent
    known = {Path(file.src_uri) for file in files}

    def told(link: re.Match[str]) -> str:
        text, target = link[1], link[2].partition("#")[0]
        if not target or target.startswith("http"):
            return link[0]
        path = Path(*_resolved((there / target).parts))
        return link[0] if path in known else text

    markdown = re.sub(r"(?<!!)\[([^\[\]]+)\]\(([^()\s]+)\)", told, markdown)
    return markdown.replace("```python\n>>> ", "```pycon\n>>> ")  # what a session prints is coloured as such


def _resolved(parts: tuple[str, ...]) -> list[str]:
    """The parts of a path without `..`, as far as it stays inside."""
    kept: list[str] = []
    for part in parts:
        if part == ".." and kept and kept[-1] != "..":
            kept.pop()
        else:
            kept.append(part)
    return kept
