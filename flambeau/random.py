"""``torch.random``: the default generator's seed and state.

Source: https://docs.pytorch.org/docs/stable/random.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flambeau.core.random import Generator, default_generator

if TYPE_CHECKING:
    from flambeau.tensor import Tensor

__all__ = [
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
    "thread_safe_generator",
]


def manual_seed(seed: int) -> Generator:
    """Restarts the default generator from ``seed`` (-2**63 to 2**64 - 1) and returns it.

    >>> import flambeau as torch
    >>> g = torch.manual_seed(0)
    >>> torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Restarts the default generator from a nondeterministic 64-bit seed and returns that seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator started from."""
    return default_generator.initial_seed()


def thread_safe_generator() -> Generator | None:
    """The generator of the thread that loads data, in a worker that is a thread; ``None`` (the default one) everywhere else.

    Workers are processes here, which have default generators of their own.
    """
    return None


def get_rng_state() -> Tensor:
    """The default generator's state, as a ``uint8`` tensor that PyTorch can read too."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Continues from a state that :func:`get_rng_state` returned."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(
    devices: Iterable[object] | None = None, enabled: bool = True, _caller: str = "fork_rng", _devices_kw: str = "devices",
    device_type: str | None = None,
) -> Iterator[None]:  # fmt: skip
    """What is drawn inside leaves the default generator, outside, where it was. ``devices`` beside the CPU have no streams.

    >>> import flambeau as torch
    >>> g = torch.manual_seed(0)
    >>> with torch.random.fork_rng():
    ...     noise = torch.rand(100)
    >>> torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    if not enabled:
        yield
        return
    state = default_generator.get_state()
    try:
        yield
    finally:
        default_generator.set_state(state)
