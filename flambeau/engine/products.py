"""Which nodes are matrix products, and how their operands lie in memory."""

from __future__ import annotations


def product_spec(node):
    """The product that ``node`` is; ``None`` where it is none that a native kernel takes."""
    return None
