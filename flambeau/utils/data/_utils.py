"""``torch.utils.data._utils``: where programs look for the functions that make batches."""

from __future__ import annotations

from flambeau.utils.data import collate, pin_memory
from flambeau.utils.data import fetching as fetch
from flambeau.utils.data import info as worker

__all__ = ["MP_STATUS_CHECK_INTERVAL", "collate", "fetch", "pin_memory", "worker"]

MP_STATUS_CHECK_INTERVAL = 5.0
"""Seconds after which PyTorch's loader looks whether its workers are alive; flambeau's is told at once."""
