"""What new nodes take over from the node that is worked on."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

__all__ = [
    "annotate", "annotate_fn", "format_stack", "get_current_meta", "get_current_replay_node", "has_preserved_node_meta", "preserve_node_meta",
    "reset_grad_fn_seq_nr", "set_current_meta", "set_current_replay_node", "set_grad_fn_seq_nr", "set_stack_trace",
]  # fmt: skip

_meta: dict[str, Any] = {}
_preserving = False
_replayed: Any = None


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


def annotate_fn(annotation_dict: dict) -> Callable:
    """A decorator: the function runs inside of :func:`annotate`."""

    def decorator(func: Callable) -> Callable:
        @wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with annotate(annotation_dict):
                return func(*args, **kwargs)

        return wrapper

    return decorator


def set_stack_trace(stack: list[str]) -> None:
    """Makes a stack the one that new nodes have in ``meta["stack_trace"]``; without lines they have none."""
    if _preserving:
        if stack:
            _meta["stack_trace"] = "".join(stack)
        else:
            _meta.pop("stack_trace", None)


def format_stack() -> list[str]:
    """The stack that new nodes should have: the one that was set, or that of the caller."""
    return [_meta.get("stack_trace", "")] if _preserving else traceback.format_list(traceback.extract_stack()[:-1])


def set_grad_fn_seq_nr(seq_nr: int) -> None:
    """Notes the number of an entry on the tape whose gradient is worked on."""
    if _preserving:
        _meta["grad_fn_seq_nr"] = [*_meta.get("grad_fn_seq_nr", []), seq_nr]
        _meta["in_grad_fn"] = _meta.get("in_grad_fn", 0) + 1


def reset_grad_fn_seq_nr() -> None:
    """Takes back the last :func:`set_grad_fn_seq_nr`."""
    if _preserving:
        level = _meta.get("in_grad_fn", 0)
        if level == 1:
            del _meta["in_grad_fn"], _meta["grad_fn_seq_nr"]
        elif level:
            _meta["in_grad_fn"] = level - 1
            _meta["grad_fn_seq_nr"] = _meta["grad_fn_seq_nr"][:-1]


@contextmanager
def set_current_replay_node(node: Any) -> Iterator[None]:
    """Inside, :func:`get_current_replay_node` is ``node``: that of another graph from which new ones are made."""
    global _replayed
    before, _replayed = _replayed, node
    try:
        yield
    finally:
        _replayed = before


def get_current_replay_node() -> Any:
    """The node of another graph that is worked on, if any."""
    return _replayed
