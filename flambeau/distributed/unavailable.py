"""Names of several modules of ``torch.distributed`` that packages import. See :mod:`flambeau.distributed._refused`."""

from __future__ import annotations

from flambeau.distributed._refused import refused_names

_NAMES = refused_names(
    __name__,
    "ModelAverager PeriodicModelAverager PostLocalSGDState LaunchConfig elastic_launch ScheduleGPipe SplitPoint",
    "post_localSGD_hook pipeline all_to_all_single_autograd wait_tensor",
)
globals().update(_NAMES)
__all__ = list(_NAMES)
