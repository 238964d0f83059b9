"""``torch.fx.experimental.proxy_tensor``: whether operators are being traced below the tape, which programs ask."""

from __future__ import annotations

__all__ = ["get_proxy_mode"]


def get_proxy_mode() -> None:
    """None: PyTorch's ``make_fx`` is not there, so nothing is traced by it."""
