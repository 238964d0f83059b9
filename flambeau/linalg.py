"""``torch.linalg``: filled from the op records."""

from __future__ import annotations

from flambeau.ops import namespace
from flambeau.ops.linalg import LinAlgError  # noqa: F401

globals().update(namespace("linalg"))
__all__ = sorted([*namespace("linalg"), "LinAlgError"])
