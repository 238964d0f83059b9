"""Images: rearranging channels and pixels, sampling on a grid."""

from __future__ import annotations

from flambeau.ops import pooling_adaptive, unfold  # noqa: F401
