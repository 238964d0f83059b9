"""A loader that can go on in the middle of a pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flambeau.checkpoint.streams import random_state, set_random_state
from flambeau.core.random import Generator
from flambeau.utils.data import DataLoader


class Resumable:
    """Wraps a ``DataLoader``, and knows where in which pass it is.

    ``for batch in Resumable(loader)`` is one pass. After :meth:`load_state_dict` the next pass begins behind the last batch that
    had been given out when the state was taken, with the order and the random numbers of that pass.

    A pass is found again by its beginning: the random streams are set to what they were then, batches that were given out are
    passed over, and the streams are put back. Without workers only the sampler is asked for these; with workers, whose own streams
    depend on what they have loaded, they load them again. So a sampler may draw from the default generator only when a pass
    begins, as PyTorch's do; one that draws for each batch needs a generator of its own.

    Args:
        loader: a loader with any sampler and any number of workers, but without persistent workers, whose streams go on from one
            pass to the next.

    Raises:
        ValueError: the loader has persistent workers.
    """

    def __init__(self, loader: DataLoader) -> None:
        if loader.persistent_workers:
            raise ValueError(
                "a loader with persistent_workers=True cannot go on from a checkpoint: its workers' random streams began in an earlier pass"
            )
        self.loader = loader
        self.epoch = 0
        """How many passes are behind us."""
        self.batch = 0
        """How many batches of this pass have been given out."""
        self._begin: dict[str, Any] | None = None  # the streams when this pass began
        self._resuming = False

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        if self._resuming:
            self._resuming = False
            batches = self._again()
        else:
            if self.batch:  # the last pass was left in the middle
                self.epoch += 1
            self.batch, self._begin = 0, self._streams()
            batches = iter(self.loader)
        for batch in batches:
            self.batch += 1
            yield batch
        self.epoch += 1
        self.batch, self._begin = 0, None

    def state_dict(self) -> dict[str, Any]:
        """Where we are: the pass, the batches given out, and the random streams when the pass began."""
        return {"epoch": self.epoch, "batch": self.batch, "begin": self._begin if self.batch else self._generator_states()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what :meth:`state_dict` returned, when the next pass is asked for."""
        self.epoch, self.batch = state["epoch"], state["batch"]
        self._resuming = self.batch > 0
        if self._resuming:
            self._begin = state["begin"]
        else:
            self._begin = None
            self._set_generators(state["begin"])

    def _again(self) -> Iterator[Any]:
        """The pass that was begun once, behind the batches that were given out."""
        assert self._begin is not None
        here = random_state()
        set_random_state(self._begin["random"])
        self._set_generators(self._begin["generators"])
        batches: Any = iter(self.loader)
        batches.skip(self.batch)
        set_random_state(here)
        return batches

    def _streams(self) -> dict[str, Any]:
        return {"random": random_state(), "generators": self._generator_states()}

    def _generators(self) -> list[Generator]:
        """The generators that the loader and its samplers were given."""
        inner = getattr(self.loader.batch_sampler, "sampler", None)
        found = [getattr(part, "generator", None) for part in (self.loader, self.loader.sampler, self.loader.batch_sampler, inner)]
        return list({id(g): g for g in found if isinstance(g, Generator)}.values())

    def _generator_states(self) -> list[Any]:
        return [g.get_state() for g in self._generators()]

    def _set_generators(self, states: list[Any]) -> None:
        for generator, state in zip(self._generators(), states, strict=True):
            generator.set_state(state)
