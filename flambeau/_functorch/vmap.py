"""The steps of ``vmap`` by PyTorch's names; where a library has put others in their place, as tensordict does, these are taken.

Once this module is imported, :func:`torch.vmap` takes its steps from here.

>>> import flambeau as torch
>>> from flambeau._functorch import vmap
>>> vmap.vmap_impl(torch.dot, 0, 0, "error", None, torch.ones(3, 2), torch.ones(3, 2))
tensor([2., 2., 2.])
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from flambeau._C._functorch import _add_batch_dim, _level, _remove_batch_dim
from flambeau.batching.batched import Level
from flambeau.batching.vmap import Steps
from flambeau.batching.vmap import _name as _get_name
from flambeau.core.nests import TreeSpec, tree_flatten, tree_unflatten
from flambeau.core.nests import tree_spread as _broadcast_to_and_flatten
from flambeau.tensor import Tensor

batching: Any = importlib.import_module("flambeau.batching.vmap")  # the name is the function's in its package

__all__ = [
    "Tensor", "_add_batch_dim", "_broadcast_to_and_flatten", "_create_batched_inputs", "_get_name", "_maybe_remove_batch_dim",
    "_process_batched_inputs", "_remove_batch_dim", "_unwrap_batched", "tree_flatten", "tree_unflatten", "vmap_impl",
]  # fmt: skip


def _process_batched_inputs(in_dims: Any, args: tuple, func: Callable) -> tuple[int, list, list, TreeSpec]:
    """How many samples there are; and the leaves of the arguments, the dim of each that the samples lie along, and their nest."""
    return batching.taken_apart(func, in_dims, args)


def _create_batched_inputs(flat_in_dims: Sequence, flat_args: Sequence, vmap_level: int, args_spec: TreeSpec) -> Any:
    """The arguments of one sample."""
    return batching.samples_of(_level(vmap_level), flat_in_dims, flat_args, args_spec)


def _maybe_remove_batch_dim(name: str, batched_output: Any, vmap_level: int, batch_size: int, out_dim: int | None) -> Any:
    """A result of all samples, along ``out_dim``; ``None`` says that they have it in common."""
    return batching.joined(name, _level(vmap_level), batched_output, out_dim)


def _unwrap_batched(batched_outputs: Any, out_dims: Any, vmap_level: int, batch_size: int, func: Callable) -> Any:
    """The results of all samples."""
    return batching.unwrapped(func, _level(vmap_level), batched_outputs, out_dims)


def vmap_impl(
    func: Callable, in_dims: Any, out_dims: Any, randomness: str, chunk_size: int | None, *args: Any, **kwargs: Any
) -> Any:
    """What ``vmap(func, in_dims, out_dims, randomness, chunk_size=chunk_size)`` gives for these arguments."""
    return batching.vmap(func, in_dims, out_dims, randomness, chunk_size=chunk_size)(*args, **kwargs)


class _Steps(Steps):
    """The steps as they are in this module when they are taken."""

    @staticmethod
    def taken_apart(func: Callable, in_dims: Any, args: tuple) -> tuple[int, list, list, TreeSpec]:
        return _process_batched_inputs(in_dims, args, func)

    @staticmethod
    def samples_of(level: Level, dims: Sequence, given: Sequence, spec: TreeSpec) -> Any:
        return _create_batched_inputs(dims, given, level.depth, spec)

    @staticmethod
    def unwrapped(func: Callable, level: Level, results: Any, out_dims: Any) -> Any:
        return _unwrap_batched(results, out_dims, level.depth, level.size, func)


batching.steps = _Steps()
