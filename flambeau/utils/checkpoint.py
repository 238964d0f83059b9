"""Trading time for memory: what the backward pass needs of a function is computed anew instead of being kept.

Source: Chen et al. (2016), https://arxiv.org/abs/1604.06174; https://docs.pytorch.org/docs/stable/checkpoint.html
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

from flambeau.autograd import enable_grad, is_grad_enabled, no_grad
from flambeau.autograd.graph import Node, OpBackward, next_sequence
from flambeau.core.random import default_generator
from flambeau.dispatch import autocast
from flambeau.nn.modules.container import Sequential
from flambeau.random import fork_rng
from flambeau.tensor import Tensor

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn"]


class CheckpointError(RuntimeError):
    """Running the function again did not do what it did the first time."""


def noop_context_fn() -> tuple:
    return nullcontext(), nullcontext()


def checkpoint(
    function: Callable, *args: Any, use_reentrant: bool | None = None, preserve_rng_state: bool = True,
    context_fn: Callable[[], tuple] = noop_context_fn, determinism_check: str = "default", debug: bool = False,
    early_stop: bool = True, **kwargs: Any,
) -> Any:  # fmt: skip
    """``function(*args, **kwargs)``, which runs a second time in the backward pass instead of keeping what that needs.

    Random numbers are the same the second time, unless ``preserve_rng_state`` is false.

    >>> import flambeau as torch
    >>> from flambeau.utils.checkpoint import checkpoint
    >>> x = torch.ones(2, requires_grad=True)
    >>> checkpoint(lambda x: x.exp().sin(), x, use_reentrant=False).sum().backward()
    >>> x.grad
    tensor([-2.4784, -2.4784])
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is "
            "recommended; use_reentrant=True is what is done without it.",
            stacklevel=2,
        )
        use_reentrant = True
    if use_reentrant and not any(isinstance(a, Tensor) and a.requires_grad for a in args):
        if is_grad_enabled():
            warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)
        with no_grad():
            return function(*args, **kwargs)
    forward_context, recompute_context = context_fn()
    state, cast = default_generator.get_state() if preserve_rng_state else None, autocast.cast
    start = next_sequence()
    with forward_context:
        result = function(*args, **kwargs)

    def again() -> list[OpBackward]:
        found, autocast.cast = autocast.cast, cast
        try:
            with fork_rng(enabled=preserve_rng_state), enable_grad(), recompute_context:
                if state is not None:
                    default_generator.set_state(state)
                start = next_sequence()
                return _recorded(function(*args, **kwargs), start)
        finally:
            autocast.cast = found

    entries = _recorded(result, start)
    forgotten = _Forgotten(entries, again)
    for entry in entries:
        entry.saved = forgotten.values_of(entry)  # type: ignore[assignment]
    return result


class _Forgotten:
    """The saved values of a region of the tape, until they are asked for."""

    def __init__(self, entries: list[OpBackward], again: Callable[[], list[OpBackward]]) -> None:
        self.entries, self.again = entries, again

    def values_of(self, entry: OpBackward) -> _Values:
        return _Values(self, entry)

    def restore(self) -> None:
        """Runs the function again, and gives its saved values to the entries of the first run."""
        fresh = self.again()
        if [type(e) for e in fresh] != [type(e) for e in self.entries]:
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation: {len(self.entries)} operations were recorded first, then {len(fresh)}. The function must "
                "do the same each time that it is called"
            )
        for entry, new in zip(self.entries, fresh, strict=True):
            if isinstance(entry.saved, _Values):  # an entry that is done with has none any more
                entry.saved = new.saved
        self.entries = []


class _Values:
    """Stands for the list of an entry's saved values."""

    def __init__(self, region: _Forgotten, entry: OpBackward) -> None:
        self.region, self.entry = region, entry

    def __iter__(self) -> Iterator:
        self.region.restore()
        assert self.entry.saved is not None
        return iter(self.entry.saved)


def _recorded(result: Any, start: int) -> list[OpBackward]:
    """The entries of ops that the tape has got since ``start`` and that lead to ``result``, in order."""
    seen: set[Node] = set()
    waiting = [t.grad_fn for t in _tensors(result) if t.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node in seen or node.sequence < start:
            continue
        seen.add(node)
        waiting.extend(edge[0] for edge in node.edges if edge is not None)
    return sorted((n for n in seen if isinstance(n, OpBackward) and n.saved), key=lambda n: n.sequence)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from _tensors(v)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _tensors(v)


def checkpoint_sequential(
    functions: Sequential | Iterable[Callable], segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Calls ``functions`` one after the other, in ``segments`` groups of which all but the last are checkpointed."""
    parts = list(functions.children()) if isinstance(functions, Sequential) else list(functions)
    size = max(len(parts) // segments, 1)

    def run(start: int, end: int) -> Callable:
        def forward(x: Any) -> Any:
            for part in parts[start:end]:
                x = part(x)
            return x

        return forward

    start = 0
    for _ in range(segments - 1):
        input = checkpoint(run(start, start + size), input, use_reentrant=use_reentrant, **kwargs)
        start += size
    return run(start, len(parts))(input)
