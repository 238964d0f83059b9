"""``torch.linalg``: filled from the op records."""

from __future__ import annotations

from flambeau.ops import namespace

globals().update(namespace("linalg"))
__all__ = sorted(namespace("linalg"))
