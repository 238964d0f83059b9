"""Functions of the slices of tensors: maps and scans.

For PyTorch's compiler they keep a loop in a graph. Here they run what they are given, slice by slice.

>>> import flambeau as torch
>>> associative_scan(torch.add, torch.arange(4.0), dim=0)
tensor([0., 1., 3., 6.])
"""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Callable
from typing import Any

from flambeau import ops
from flambeau.core.nests import tree_flatten, tree_leaves, tree_structure, tree_unflatten
from flambeau.tensor import Tensor

__all__ = ["associative_scan", "foreach_map", "map", "scan"]


def _slices(xs: Any, dim: int) -> list[Any]:
    """The nest once for each slice along a dim of its tensors."""
    leaves, spec = tree_flatten(xs)
    if not leaves or not all(isinstance(x, Tensor) for x in leaves):
        raise RuntimeError(f"Expect xs to be a nest of tensors, but got {xs}.")
    sizes = {x.size(dim) for x in leaves}
    if len(sizes) > 1:
        raise RuntimeError(f"Expect all tensors of xs to have the same size in dim {dim}, but got {sorted(sizes)}.")
    return [tree_unflatten(list(part), spec) for part in zip(*[x.unbind(dim) for x in leaves], strict=True)]


def _stacked(parts: list[Any], dim: int) -> Any:
    """The nest whose slices along a dim these are."""
    columns = zip(*[tree_leaves(part) for part in parts], strict=True)
    return tree_unflatten([ops.stack(list(column), dim) for column in columns], tree_structure(parts[0]))


def map(f: Callable, xs: Any, *args: Any) -> Any:
    """``f(x, *args)`` of each slice ``x`` along the first dim, stacked.

    >>> import flambeau as torch
    >>> map(lambda x, y: x.sum() + y, torch.ones(3, 2), torch.tensor(1.0))
    tensor([3., 3., 3.])
    """
    return _stacked([f(x, *args) for x in _slices(xs, 0)], 0)


def scan(combine_fn: Callable, init: Any, xs: Any, *, dim: int = 0, reverse: bool = False) -> tuple[Any, Any]:
    """``(carry, ys)``: ``carry, y = combine_fn(carry, x)`` for each slice, from ``init`` on; ``ys`` are stacked along ``dim``.

    >>> import flambeau as torch
    >>> scan(lambda carry, x: (carry + x, carry * x), torch.tensor(0.0), torch.arange(4.0))
    (tensor(6.), tensor([0., 0., 2., 9.]))
    """
    carry, found = init, []
    slices = _slices(xs, dim)
    for x in reversed(slices) if reverse else slices:
        carry, y = combine_fn(carry, x)
        found.append(y)
    return carry, _stacked(found[::-1] if reverse else found, dim)


def associative_scan(combine_fn: Callable, xs: Any, dim: int, reverse: bool = False, combine_mode: str = "pointwise") -> Any:
    """What has been combined up to each slice, that one included: sums for ``torch.add``. ``reverse`` begins at the end.

    Raises:
        ValueError: ``combine_mode`` is neither ``"pointwise"`` nor ``"generic"``.
    """
    if combine_mode not in ("pointwise", "generic"):
        raise ValueError(f"Combine_mode must either 'pointwise' or 'generic', but got {combine_mode}")
    slices = _slices(xs, dim)
    found = list(itertools.accumulate(reversed(slices) if reverse else slices, combine_fn))
    return _stacked(found[::-1] if reverse else found, dim)


def foreach_map(op: Callable, *operands: Any) -> Any:
    """``op`` of the first elements of lists, of the second, and so on; operands that are no lists are the same for all.

    >>> import flambeau as torch
    >>> foreach_map(torch.add, [torch.ones(1), torch.zeros(2)], 1)
    [tensor([2.]), tensor([1., 1.])]
    """
    if not any(isinstance(x, (list, tuple)) for x in operands):
        return op(*operands)
    return list(builtins.map(op, *[x if isinstance(x, (list, tuple)) else itertools.repeat(x) for x in operands]))
