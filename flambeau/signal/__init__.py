"""``torch.signal``: windows for filters and spectra."""

from __future__ import annotations

from flambeau.signal import windows

__all__ = ["windows"]
