"""``flambeau torchrun``: see :mod:`flambeau.distributed.run`."""

from __future__ import annotations

from flambeau.distributed.run import main

__all__ = ["main"]
