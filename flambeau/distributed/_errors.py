"""What goes wrong between processes."""

from __future__ import annotations

__all__ = ["DistBackendError", "DistError", "DistNetworkError", "DistStoreError", "QueueEmptyError"]


class DistError(RuntimeError):
    """What goes wrong between processes."""


class DistBackendError(DistError):
    """The library that connects processes has failed, another process has ended, or has not come in time."""


class DistNetworkError(DistError):
    """The network has failed."""


class DistStoreError(DistError):
    """A store has failed."""


class QueueEmptyError(DistStoreError):
    """Nothing is in the queue of a store."""
