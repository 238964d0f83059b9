"""Bars of progress: on terminals and in notebooks, after two seconds, and nowhere else."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

import flambeau as torch
from flambeau.core import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def looked_at(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What somebody sees, from now on; pytest puts its own in place before each test."""
    file = Terminal()
    monkeypatch.setattr(sys, "stderr", file)
    return file


def without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)


def test_line_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = looked_at(monkeypatch)
    without_tqdm(monkeypatch)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    assert list(progress.bar([1, 2, 3], "files")) == [1, 2, 3]
    shown = terminal.getvalue().split("\r")
    assert [line.split("[")[1].split(",")[0] for line in shown if line.strip()] == ["1/3", "2/3", "3/3"]
    with progress.bar(what="bytes", total=10) as bar:
        bar.update(4)
        bar.update(6)
    assert "bytes:  40 % [4/10," in terminal.getvalue() and terminal.getvalue().endswith("\r")
    assert list(progress.bar((i for i in range(2)), "unknown")) == [0, 1]
    assert "unknown: 2 [" in terminal.getvalue()


@pytest.mark.parametrize("package", ["tqdm", "none"])
def test_what_is_over_soon_shows_nothing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = looked_at(monkeypatch)
    if package == "none":
        without_tqdm(monkeypatch)
    with progress.bar(range(100), "short") as bar:
        assert sum(bar) == 4950
    assert terminal.getvalue() == ""


def test_tqdm_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = looked_at(monkeypatch)
    tqdm = pytest.importorskip("tqdm.auto")
    monkeypatch.setattr(progress, "DELAY", 0.0)
    bar = progress.bar(range(3), "files")
    assert isinstance(bar, tqdm.tqdm) and torch.hub.tqdm is tqdm.tqdm
    assert list(bar) == [0, 1, 2]
    assert "files: " in terminal.getvalue()


def test_pipes_get_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    assert list(progress.bar(range(3), "files")) == [0, 1, 2]
    assert file.getvalue() == ""


def test_download_shows_its_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    terminal = looked_at(monkeypatch)
    without_tqdm(monkeypatch)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    (tmp_path / "source.bin").write_bytes(bytes(3 << 20))
    url = (tmp_path / "source.bin").as_uri()
    torch.hub.download_url_to_file(url, str(tmp_path / "quiet.bin"), progress=False)
    assert terminal.getvalue() == ""
    torch.hub.download_url_to_file(url, str(tmp_path / "copy.bin"))
    assert (tmp_path / "copy.bin").read_bytes() == bytes(3 << 20)
    assert "copy.bin:" in terminal.getvalue() and "100 %" in terminal.getvalue()
