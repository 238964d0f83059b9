"""The languages in which flambeau explains: English and Chinese."""

from __future__ import annotations

import os
from typing import NamedTuple

VARIABLES = ("FLAMBEAU_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
"""Environment variables that say which language is wanted; the first one that is set does."""


def language() -> str:
    """``"zh"`` where ``FLAMBEAU_LANG`` or the locale asks for Chinese, else ``"en"``."""
    wanted = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "en")
    return "zh" if wanted.lower().startswith("zh") else "en"


class Text(NamedTuple):
    """One text in both languages; ``str()`` of it is the one that is wanted."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.zh if language() == "zh" else self.en
