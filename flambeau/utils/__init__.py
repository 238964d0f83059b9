"""``torch.utils``: what helps programs around their networks. Data loading is in :mod:`flambeau.utils.data`."""

from __future__ import annotations

from flambeau.utils import data

__all__ = ["data"]
