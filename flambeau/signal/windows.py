"""``torch.signal.windows``. Source: https://docs.pytorch.org/docs/stable/signal.html"""

from __future__ import annotations

from flambeau import ops

__all__ = sorted(ops.namespace("signal.windows"))

globals().update(ops.namespace("signal.windows"))
