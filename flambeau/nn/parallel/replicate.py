"""Copies of a module that share its place on the tape."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from flambeau.core.device import check
from flambeau.nn.modules.module import Module

__all__ = ["replicate"]


def replicate(network: Module, devices: Sequence[Any], detach: bool = False) -> list[Module]:
    """For each of the devices a copy of ``network`` that holds the same parameters and buffers, so gradients reach them.

    ``detach``: copies hold detached parameters. Devices are given as ``"cpu"``: a GPU is refused.
    """
    for d in devices:
        check(f"cuda:{d}" if isinstance(d, int) else d)
    return [_copy(network, detach, {}) for _ in devices]


def _copy(module: Module, detach: bool, made: dict[int, Module]) -> Module:
    if id(module) not in made:
        replica = made[id(module)] = copy.copy(module)
        replica.__dict__ = dict(module.__dict__)
        copies: dict[str, Any] = {k: p.detach() if detach and p is not None else p for k, p in module._parameters.items()}
        replica._parameters = copies
        replica._buffers = dict(module._buffers)
        replica._modules = {k: m if m is None else _copy(m, detach, made) for k, m in module._modules.items()}
    return made[id(module)]
