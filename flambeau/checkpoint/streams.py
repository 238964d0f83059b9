"""The random streams of a program: flambeau's default generator, Python's ``random``, NumPy's global one."""

from __future__ import annotations

import random as python
from typing import Any

import numpy as np

from flambeau.random import get_rng_state, set_rng_state


def random_state() -> dict[str, Any]:
    """The states of all streams, as tensors, numbers and tuples.

    >>> import flambeau as torch
    >>> state = random_state()
    >>> x = torch.rand(2)
    >>> set_random_state(state)
    >>> torch.equal(torch.rand(2), x)
    True
    """
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {"torch": get_rng_state(), "python": python.getstate(), "numpy": (str(kind), np.asarray(keys).tolist(), *rest)}


def set_random_state(state: dict[str, Any]) -> None:
    """Continues all streams from what :func:`random_state` returned."""
    set_rng_state(state["torch"])
    python.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
