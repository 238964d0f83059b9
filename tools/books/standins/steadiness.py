"""What makes runs comparable: no worker processes; and runs that show which numbers are times, and which are rounding."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

PACE = 1.5
CLOCKS = "time", "perf_counter", "monotonic", "process_time"


def one_process() -> None:
    """Lets every ``DataLoader`` load in the process that asks for its batches."""
    from torch.utils.data import DataLoader

    original = DataLoader.__init__

    @functools.wraps(original)
    def init(self: Any, *arguments: Any, **settings: Any) -> None:
        for name in ("num_workers", "prefetch_factor", "persistent_workers", "multiprocessing_context"):
            settings.pop(name, None)
        original(self, *arguments, **settings)

    DataLoader.__init__ = init


def hasten() -> None:
    """Lets clocks go faster, so that no time that a program prints is what it was."""

    def faster(clock: Callable[[], float]) -> Callable[[], float]:
        start = clock()
        return lambda: start + PACE * (clock() - start)

    for name in CLOCKS:
        setattr(time, name, faster(getattr(time, name)))


def double() -> None:
    """Makes float64 the default, in which two implementations of the same formulas print the same digits."""
    import torch

    torch.set_default_dtype(torch.float64)


def perturb() -> None:
    """Multiplies every gradient that reaches a leaf by 1 + 2e-7 * noise."""
    import numpy as np
    import torch

    stream, backward = np.random.RandomState(1), torch.autograd.backward

    @functools.wraps(backward)
    def noisy(tensors: Any, *arguments: Any, **settings: Any) -> None:
        roots = tensors if isinstance(tensors, tuple | list) else [tensors]
        leaves, seen, pending = {}, set(), [root.grad_fn for root in roots]
        while pending:
            node = pending.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            leaf = getattr(node, "variable", None)
            if leaf is not None:
                leaves[id(leaf)] = leaf
            pending += [following for following, _ in node.next_functions]
        backward(tensors, *arguments, **settings)
        for leaf in leaves.values():
            grad = leaf.grad
            if grad is not None and grad.is_floating_point() and grad.layout == torch.strided:
                noise = torch.from_numpy(np.asarray(stream.standard_normal(tuple(grad.shape))))
                grad.data.mul_(1 + 2e-7 * noise.to(grad.dtype))

    torch.autograd.backward = noisy
