"""Calls of all ops with something else where a tensor belongs, made from the samples of the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import flambeau
from flambeau.ops.record import Op, registry
from flambeau.ops.samples import Make

PUBLIC = [
    op
    for op in dict.fromkeys(registry.values())
    if op.samples and not op.short_name.startswith("_") and not op.name.startswith("aten.")
]


class Thing:
    """A type that no op knows."""


WRONG = ["text", None, [1, 2], Thing(), 3, np.ones(2)]


def calls(op: Op) -> Iterator[tuple[Any, tuple, dict[str, Any], list[tuple[Any, Callable]]]]:
    """For each argument that is a tensor in a sample: its place or name, the sample, and what is wrong there with a maker of the
    call."""
    done = set()
    for sample in op.samples(Make(requires_grad=False)):
        for place in [*range(len(sample.args)), *sample.kwargs]:
            value = sample.args[place] if isinstance(place, int) else sample.kwargs[place]
            if isinstance(value, flambeau.Tensor) and place not in done:
                done.add(place)
                yield place, sample.args, sample.kwargs, [(wrong, _putting(place, wrong)) for wrong in WRONG]


def _putting(place: Any, wrong: Any) -> Callable:
    def put(args: Any, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        if not isinstance(place, int):
            return tuple(args), {**kwargs, place: wrong}
        return (*args[:place], wrong, *args[place + 1 :]), dict(kwargs)

    return put


def told(function: Callable, args: Any, kwargs: dict[str, Any]) -> tuple[str, str]:
    """The class and the first line of the error that a call raises; two empty words: it raises none."""
    try:
        function(*args, **kwargs)
    except Exception as error:
        return type(error).__name__, str(error).strip().partition("\n")[0]
    return "", ""
