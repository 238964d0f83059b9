"""Exchange of tensors with other array libraries without copying, by DLPack."""

from __future__ import annotations

from flambeau.tensor.exchange import from_dlpack, to_dlpack

__all__ = ["from_dlpack", "to_dlpack"]
