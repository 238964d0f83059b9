"""How data pipes are made of each other, as nested dicts."""

from __future__ import annotations

from typing import Any

from flambeau.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe
from flambeau.utils.data.graph_settings import pipes_of

__all__ = ["traverse", "traverse_dps"]


def traverse_dps(datapipe: Any) -> dict[int, tuple[Any, dict]]:
    """``{id(pipe): (pipe, what it is made of)}``.

    >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
    >>> from flambeau.utils.data.graph import traverse_dps
    >>> pipe = IterableWrapper("ab").map(str.upper)
    >>> found, below = traverse_dps(pipe)[id(pipe)]
    >>> found is pipe, [p for p, _ in below.values()]
    (True, [IterableWrapper])
    """
    if not isinstance(datapipe, (IterDataPipe, MapDataPipe)):
        raise RuntimeError(f"Expected `IterDataPipe` or `MapDataPipe`, but {type(datapipe)} is found")
    direct = pipes_of(list(vars(datapipe).values()))
    deeper = {id(q) for p in direct for q in pipes_of(p)[1:]}
    return {id(datapipe): (datapipe, {k: v for p in direct if id(p) not in deeper for k, v in traverse_dps(p).items()})}


def traverse(datapipe: Any, only_datapipe: bool | None = None) -> dict[int, tuple[Any, dict]]:
    """As :func:`traverse_dps`."""
    return traverse_dps(datapipe)
