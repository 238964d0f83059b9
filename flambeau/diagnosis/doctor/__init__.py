"""The doctor: mistakes that do not raise."""

from __future__ import annotations

from typing import Any


class doctor:
    """Watches what runs inside of ``with flambeau.doctor():``."""

    def __init__(self, source: str | None = None) -> None:
        self.findings: list[Any] = []

    def __enter__(self) -> doctor:
        return self

    def __exit__(self, *error: object) -> None:
        return None
