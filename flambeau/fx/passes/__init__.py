"""Passes over graphs."""

from flambeau.fx.passes import graph_drawer, shape_prop, split_module

__all__ = ["graph_drawer", "shape_prop", "split_module"]
