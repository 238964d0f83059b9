"""What a ``DataLoader`` says to the data pipes that its dataset is made of: whether to shuffle, by which seeds, and which share is
whose."""

from __future__ import annotations

from typing import Any

from flambeau.core.random import Generator
from flambeau.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe, Shuffling
from flambeau.utils.data.datapipes.iter import Branching
from flambeau.utils.data.sampler import draw_seed

__all__ = ["apply_random_seed", "apply_sharding", "apply_shuffle_seed", "apply_shuffle_settings", "get_all_graph_pipes", "pipes_of"]


def pipes_of(datapipe: Any) -> list[Any]:
    """A pipe and all that it is made of, each once, those before it last.

    >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
    >>> from flambeau.utils.data.graph_settings import pipes_of
    >>> pipes_of(IterableWrapper("ab").map(str.upper).batch(2))
    [Batcher, Mapper, IterableWrapper]
    """
    found: dict[int, Any] = {}

    def walk(value: Any) -> None:
        if isinstance(value, (IterDataPipe, MapDataPipe)):
            if id(value) not in found:
                found[id(value)] = value
                walk(vars(value))
        elif isinstance(value, dict):
            walk(list(value.values()))
        elif isinstance(value, (list, tuple)):
            for part in value:
                walk(part)
        elif isinstance(value, Branching):
            walk(value.datapipe)

    walk(datapipe)
    return list(found.values())


def get_all_graph_pipes(graph: dict[int, Any]) -> list[Any]:
    """All pipes of a graph as ``torch.utils.data.graph.traverse_dps`` gives it."""
    found: dict[int, Any] = {}
    for pipe, below in graph.values():
        found.setdefault(id(pipe), pipe)
        for inner in get_all_graph_pipes(below):
            found.setdefault(id(inner), inner)
    return list(found.values())


def apply_sharding(datapipe: Any, num_of_instances: int, instance_id: int, sharding_group: Any = None) -> Any:
    """Tells every pipe that can be divided that it is one of several."""
    for pipe in pipes_of(datapipe):
        if hasattr(pipe, "apply_sharding"):
            pipe.apply_sharding(num_of_instances, instance_id)
    return datapipe


def apply_shuffle_settings(datapipe: Any, shuffle: bool | None = None) -> Any:
    """Turns the shuffling of all pipes on or off; where none shuffles and that is asked for, puts one that does at the end."""
    if shuffle is None:
        return datapipe
    shufflers = [p for p in pipes_of(datapipe) if isinstance(p, Shuffling)]
    if not shufflers and shuffle:
        datapipe = datapipe.shuffle()
        shufflers = [datapipe]
    for pipe in shufflers:
        pipe.set_shuffle(shuffle)
    return datapipe


def apply_random_seed(datapipe: Any, rng: Generator) -> Any:
    """Gives every pipe that draws a seed of its own, drawn from ``rng``."""
    for pipe in pipes_of(datapipe):
        if hasattr(pipe, "set_seed"):
            pipe.set_seed(draw_seed(rng))
    return datapipe


apply_shuffle_seed = apply_random_seed
