"""Training of processes that have unequal numbers of inputs: those that are done answer for what the others still do together.

Source: https://docs.pytorch.org/docs/stable/distributed.algorithms.join.html
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, NamedTuple

from flambeau import ops
from flambeau.distributed._collectives import all_reduce
from flambeau.distributed._group import member
from flambeau.distributed._work import Work

__all__ = ["Join", "JoinHook", "Joinable"]


class JoinHook:
    """What a process that is done does in place of an iteration (``main_hook``), and when all are done (``post_hook``)."""

    def main_hook(self) -> None:
        """Takes part in the collective operations of one iteration."""

    def post_hook(self, is_last_joiner: bool) -> None:
        """Runs when all are done; ``is_last_joiner``: this process was among the last."""


class _Configuration(NamedTuple):
    enable: bool = False
    throw: bool = False
    first: bool = False


class Joinable(ABC):
    """Something whose iterations call collective operations, such as a module that is trained in parallel."""

    _join_config = _Configuration()

    @abstractmethod
    def join_hook(self, **kwargs: Any) -> JoinHook:
        """The hook that answers for it."""

    @property
    @abstractmethod
    def join_device(self) -> Any:
        """The device of its tensors."""

    @property
    @abstractmethod
    def join_process_group(self) -> Any:
        """The group that it works with."""


class Join:
    """``with Join([model]):`` lets processes leave the loop in it one after the other.

    ``throw_on_early_termination`` raises in all of them when the first is done.
    """

    def __init__(
        self, joinables: list[Joinable], enable: bool = True, throw_on_early_termination: bool = False, **kwargs: Any
    ) -> None:
        if not joinables:
            raise ValueError("The join context manager requires at least one joinable")
        self._joinables, self._enable, self._throw = joinables, enable, throw_on_early_termination
        self._hooks = [joinable.join_hook(**kwargs) for joinable in joinables]
        self._group = member(joinables[0].join_process_group)
        for i, joinable in enumerate(joinables):
            joinable._join_config = _Configuration(enable, throw_on_early_termination, i == 0)

    def __enter__(self) -> Join:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._enable or kind is not None:
            return
        last, rounds = True, 0
        while self._working():
            if self._throw:
                all_reduce(ops.ones(1), group=self._group)
                raise RuntimeError(f"Rank {self._group.rank()} exhausted all inputs.")
            last, rounds = False, rounds + 1
            if rounds == 1000:
                warnings.warn(
                    "Detected uneven input skew of greater than 1000. This means that a rank has exhausted its inputs long before others.",
                    stacklevel=2,
                )
            for hook in self._hooks:
                hook.main_hook()
        for hook in self._hooks:
            hook.post_hook(last)

    def _working(self) -> bool:
        """Whether some process still has inputs."""
        count = ops.zeros(1)
        all_reduce(count, group=self._group)
        return bool(count.item())

    @staticmethod
    def notify_join_context(joinable: Joinable) -> Work | None:
        """Says at the beginning of an iteration that this process has inputs; the work gives how many have."""
        configuration = joinable._join_config
        if not configuration.enable or not configuration.first:
            return None
        group = joinable.join_process_group
        work = all_reduce(ops.ones(1), group=group, async_op=True)
        if configuration.throw:
            stopped = ops.zeros(1)
            all_reduce(stopped, group=group)
            if stopped.item():
                raise RuntimeError("Detected at least one rank that exhausted inputs. Throwing across all ranks.")
        return work
