"""``torch.onnx``: nothing is exported to ONNX; save the ``state_dict`` with ``torch.save``."""

from __future__ import annotations

__all__ = ["is_in_onnx_export"]


def is_in_onnx_export() -> bool:
    """False."""
    return False
