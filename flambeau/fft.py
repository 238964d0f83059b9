"""``torch.fft``: filled from the op records."""

from __future__ import annotations

from flambeau.ops import namespace

globals().update(namespace("fft"))
__all__ = sorted(namespace("fft"))
