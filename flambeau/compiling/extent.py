"""Whether this thread runs what is compiled or exported: what ``torch.compiler.is_compiling()`` says."""

from __future__ import annotations

import threading


class _Extent(threading.local):
    """How many compiled functions, and exports, are being run."""

    compiled = 0
    exported = 0


extent = _Extent()
