"""A sample's arguments for both libraries: the nests that they are in, and tensors with the same values and strides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau


def tensors(value: Any, kind: type) -> list:
    """All tensors of a nest."""
    if isinstance(value, kind):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for v in value for t in tensors(v, kind)] if isinstance(value, (tuple, list)) else []


def replaced(value: Any, function: Callable) -> Any:
    """The nest of ``function(part)``."""
    if isinstance(value, dict):
        return {k: replaced(v, function) for k, v in value.items()}
    if type(value) in (tuple, list):
        return type(value)(replaced(v, function) for v in value)
    return function(value)


def as_torch(known: dict, x: Any, leaves: bool = False) -> Any:
    """The same for PyTorch, each tensor once (``known`` has them by their ids); ``leaves``: they require grad as ``x`` does."""
    import torch

    if not isinstance(x, flambeau.Tensor):
        name = str(x) if type(x).__module__.startswith("flambeau") else ""
        return getattr(torch, name[len("torch.") :]) if name.startswith("torch.") else x
    if id(x) not in known:
        values = torch.from_numpy(np.array(x.detach()._array()))
        t = torch.empty_strided(tuple(x.shape), x.stride(), dtype=values.dtype).copy_(values)
        known[id(x)] = x, t.requires_grad_(leaves and x.requires_grad)
    return known[id(x)][1]
