"""Calls that leave no trace: the random stream and the buffers of modules are put back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from flambeau import no_grad
from flambeau.core.random import default_generator
from flambeau.nn import Module


@contextmanager
def restored(modules: Iterable[Module]) -> Iterator[None]:
    """Puts the random stream, and the buffers of ``modules`` (running means), back to what they were before."""
    state = default_generator.get_state()
    buffers = [(buffer, buffer.detach().clone()) for module in modules for buffer in module.buffers()]
    try:
        yield
    finally:
        default_generator.set_state(state)
        with no_grad():
            for buffer, values in buffers:
                buffer.copy_(values)
