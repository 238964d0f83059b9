"""Batches shared out among devices and brought together again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flambeau
from flambeau.core import device as devices
from flambeau.tensor import Tensor

__all__ = ["gather", "scatter", "scatter_kwargs"]


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> Any:
    """For each of the devices its part of ``inputs``: tensors are cut along ``dim``, and what is no tensor goes to all.

    Devices are given as ``"cpu"``: a GPU is refused.

    >>> import flambeau as torch
    >>> from flambeau.nn.parallel import scatter
    >>> [part["x"].tolist() for part in scatter({"x": torch.arange(4), "n": 1}, ["cpu", "cpu"])]
    [[0, 1], [2, 3]]
    """
    for d in target_gpus:
        devices.check(f"cuda:{d}" if isinstance(d, int) else d)
    return _scatter(inputs, len(target_gpus), dim)


def _scatter(obj: Any, n: int, dim: int) -> list:
    if isinstance(obj, Tensor):
        return list(obj.chunk(n, dim))
    if isinstance(obj, tuple) and hasattr(obj, "_fields"):
        return [type(obj)(*parts) for parts in zip(*[_scatter(part, n, dim) for part in obj], strict=False)]
    if isinstance(obj, (tuple, list)) and obj:
        return [type(obj)(parts) for parts in zip(*[_scatter(part, n, dim) for part in obj], strict=False)]
    if isinstance(obj, dict) and obj:
        parts = zip(*[_scatter(part, n, dim) for part in obj.values()], strict=False)
        return [type(obj)(zip(obj, values, strict=True)) for values in parts]
    return [obj] * n


def scatter_kwargs(inputs: tuple, kwargs: dict | None, target_gpus: Sequence[Any], dim: int = 0) -> tuple[tuple, tuple]:
    """:func:`scatter` of a call's arguments, as many of both kinds."""
    args = scatter(inputs, target_gpus, dim) if inputs else []
    named = scatter(kwargs, target_gpus, dim) if kwargs else []
    args += [()] * (len(named) - len(args))
    named += [{}] * (len(args) - len(named))
    return tuple(args), tuple(named)


def gather(outputs: Any, target_device: Any, dim: int = 0) -> Any:
    """What came from several devices as one: tensors are joined along ``dim``, numbers become a vector.

    >>> import flambeau as torch
    >>> from flambeau.nn.parallel import gather
    >>> gather([torch.ones(1, 2), torch.zeros(2, 2)], "cpu").shape
    torch.Size([3, 2])
    """
    if target_device is not None and target_device != -1:
        devices.check(f"cuda:{target_device}" if isinstance(target_device, int) else target_device)
    first = outputs[0]
    if isinstance(first, Tensor):
        if all(out.dim() == 0 for out in outputs):
            return flambeau.stack(list(outputs))
        return flambeau.cat(list(outputs), dim)
    if first is None:
        return None
    if isinstance(first, Mapping):
        if not all(len(first) == len(out) for out in outputs):
            raise ValueError("All dicts must have the same number of keys")
        return type(first)((key, gather([out[key] for out in outputs], target_device, dim)) for key in first)  # type: ignore[call-arg]
    parts = [gather(list(part), target_device, dim) for part in zip(*outputs, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
