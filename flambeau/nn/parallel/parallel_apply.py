"""Modules called side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.core.device import check
from flambeau.nn.modules.module import Module

__all__ = ["parallel_apply"]


def parallel_apply(
    modules: Sequence[Module],
    inputs: Sequence[Any],
    kwargs_tup: Sequence[dict | None] | None = None,
    devices: Sequence[Any] | None = None,
) -> list[Any]:
    """The results of ``modules``, each of its own input; all are recorded and run together.

    >>> import flambeau as torch
    >>> from flambeau.nn.parallel import parallel_apply
    >>> [y.tolist() for y in parallel_apply([torch.nn.ReLU(), torch.nn.Identity()], [torch.tensor([-1.0])] * 2)]
    [[0.0], [-1.0]]
    """
    if len(modules) != len(inputs):
        raise AssertionError(f"The number of modules {len(modules)} is not equal to the number of inputs {len(inputs)}")
    named = kwargs_tup if kwargs_tup is not None else [{}] * len(modules)
    for d in devices or ():
        check(f"cuda:{d}" if isinstance(d, int) else d or "cpu")
    return [
        m(*(x if isinstance(x, (list, tuple)) else (x,)), **(kw or {})) for m, x, kw in zip(modules, inputs, named, strict=True)
    ]
