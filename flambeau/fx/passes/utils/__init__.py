"""What passes have in common."""

from flambeau.fx.passes.utils import matcher_utils

__all__ = ["matcher_utils"]
