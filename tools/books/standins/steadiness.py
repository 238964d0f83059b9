"""What makes runs comparable: no worker processes; and a run that shows how far rounding alone drives numbers."""

from __future__ import annotations

import functools
from typing import Any


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
