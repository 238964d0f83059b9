"""What ``importlib.metadata`` is told of the package ``torch``."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import flambeau
from flambeau.version import __version__

__all__ = ["TorchDistribution"]


class TorchDistribution(importlib.metadata.Distribution):
    """The package ``torch`` in the version whose behaviour flambeau has.

    >>> TorchDistribution().metadata["Name"]
    'torch'
    """

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return f"Metadata-Version: 2.1\nName: torch\nVersion: {__version__}\n"
        return None

    def locate_file(self, path: Any) -> Path:
        return Path(flambeau.__file__).parent / str(path)
