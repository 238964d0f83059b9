"""Settings of ``torch.fx``."""

from __future__ import annotations

disable_progress = True
"""Interpreters show no bar of progress."""
verbose_progress = False
