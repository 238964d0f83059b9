"""New tensors like a batched one: of its samples' shape for each of them, so that they can be written to."""

from __future__ import annotations

from typing import Any

from flambeau.batching.batched import innermost
from flambeau.batching.rules.families import COMPOSED


def _like(interception: Any, op: Any, args: tuple, kwargs: dict) -> Any:
    level = innermost(args[:1])
    if level is None:
        return interception.as_written(op, args, kwargs)
    return level.wrap(op.function(args[0]._value, *args[1:], **kwargs))


for _name in ("zeros_like", "ones_like", "empty_like", "full_like"):
    COMPOSED[_name] = _like


def _new(interception: Any, op: Any, args: tuple, kwargs: dict) -> Any:
    level = innermost(args[:1])
    if level is None or "size" in kwargs:
        return interception.as_written(op, args, kwargs)
    x, *size = args
    if op.name == "Tensor.new_full":
        given = (level.size, *size[0]), *size[1:]
    elif len(size) == 1 and isinstance(size[0], (tuple, list)):
        given = ((level.size, *size[0]),)
    else:
        given = (level.size, *size)
    return level.wrap(op.function(x._value, *given, **kwargs))


for _name in ("Tensor.new_zeros", "Tensor.new_ones", "Tensor.new_empty", "Tensor.new_full"):
    COMPOSED[_name] = _new
