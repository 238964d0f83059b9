"""``torch.utils.deterministic``: what deterministic programs find in memory that nobody has written to."""

from __future__ import annotations

__all__ = ["fill_uninitialized_memory"]

fill_uninitialized_memory = True
"""Whether such memory is filled. In flambeau it always is (``torch.empty`` gives zeros), so the switch changes nothing."""
