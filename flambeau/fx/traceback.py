"""What new nodes take over from the node that is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["annotate", "get_current_meta", "has_preserved_node_meta", "preserve_node_meta", "set_current_meta"]

_meta: dict[str, Any] = {}
_preserving = False


@contextmanager
def preserve_node_meta(enable: bool = True) -> Iterator[None]:
    """Inside, :func:`get_current_meta` has what was set."""
    global _preserving, _meta
    before = _preserving, _meta
    _preserving, _meta = enable, dict(_meta)
    try:
        yield
    finally:
        _preserving, _meta = before


def has_preserved_node_meta() -> bool:
    return _preserving


@contextmanager
def set_current_meta(node: Any, pass_name: str = "") -> Iterator[None]:
    """Makes the ``meta`` of a node the current one."""
    global _meta
    before = _meta
    if _preserving and node.meta:
        _meta = dict(node.meta)
    try:
        yield
    finally:
        _meta = before


def get_current_meta() -> dict[str, Any]:
    """What new nodes should have in ``meta``."""
    return _meta


@contextmanager
def annotate(annotation_dict: dict) -> Iterator[None]:
    """Adds to what nodes made inside have in ``meta["custom"]``."""
    global _meta
    before = _meta
    _meta = {**_meta, "custom": {**_meta.get("custom", {}), **annotation_dict}}
    try:
        yield
    finally:
        _meta = before
