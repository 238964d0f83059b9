"""``flambeau doctor``: run a program, and say which mistakes that raise nothing are in it."""

from __future__ import annotations

from collections.abc import Sequence

from flambeau.cli import run


def main(arguments: Sequence[str]) -> int:
    """``flambeau doctor (script.py | -m module | -c code) [args ...]``, which is ``flambeau run --check``."""
    return run.main(["--check", *arguments])
