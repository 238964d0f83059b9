"""Sizes that may be others when an exported program is called."""

from flambeau.export.dims import Dim, ShapesCollection, dims

__all__ = ["Dim", "ShapesCollection", "dims"]
