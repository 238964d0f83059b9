"""``torch.distributed.device_mesh``: how processes are laid out. See :mod:`flambeau.distributed._refused`."""

from __future__ import annotations

from flambeau.distributed._refused import refused_names

_NAMES = refused_names(
    __name__,
    "DeviceMesh",
    "init_device_mesh",
)
globals().update(_NAMES)
__all__ = list(_NAMES)
