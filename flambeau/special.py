"""``torch.special``: filled from the op records."""

from __future__ import annotations

from flambeau.ops import namespace

globals().update(namespace("special"))
__all__ = sorted(namespace("special"))
