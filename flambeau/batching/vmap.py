"""``vmap``: from nests of tensors to batched ones, and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from flambeau import ops
from flambeau.batching.batched import Batched, Level
from flambeau.batching.interception import interception
from flambeau.core.nests import TreeSpec, tree_flatten, tree_leaves, tree_spread, tree_structure, tree_unflatten
from flambeau.tensor.tensor import Tensor


def vmap(
    func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None
) -> Callable:
    """The function that computes ``func`` for each slice of its arguments along ``in_dims``, and stacks the results.

    ``func`` runs once, on tensors that look like one sample: what it computes must not depend on their values through Python.

    Args:
        in_dims: the dim of each argument that the samples lie along, ``None`` for an argument that all of them share; one for
            all, or a nest like the arguments. Arguments by keyword are shared.
        out_dims: where that dim is in the results: one for all, or a nest like the results.
        randomness: what random numbers do: ``"error"``, ``"different"`` (each sample has its own) or ``"same"``.
        chunk_size: how many samples are computed together; ``None``: all of them.

    >>> import flambeau as torch
    >>> torch.vmap(torch.dot)(torch.ones(3, 2), torch.ones(3, 2))
    tensor([2., 2., 2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.vmap.html
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        _check_out_dims(func, out_dims)
        size, dims, given, spec = steps.taken_apart(func, in_dims, args)
        if chunk_size is None or chunk_size >= size:
            return _call(func, size, given, dims, spec, out_dims, randomness, kwargs)
        starts = range(0, size, chunk_size)
        parts = [t.split(chunk_size, d) if d is not None else (t,) * len(starts) for t, d in zip(given, dims)]
        found = [
            _call(func, min(chunk_size, size - i), chunk, dims, spec, out_dims, randomness, kwargs)
            for i, chunk in zip(starts, zip(*parts))
        ]
        return _joined(found, out_dims)

    return wrapper


def _call(
    func: Callable, size: int, given: Sequence, dims: list, spec: TreeSpec, out_dims: Any, randomness: str, kwargs: dict
) -> Any:
    with interception.level(size, randomness) as level:
        results = func(*steps.samples_of(level, dims, given, spec), **kwargs)
        return steps.unwrapped(func, level, results, out_dims)


def taken_apart(func: Callable, in_dims: Any, args: tuple) -> tuple[int, list, list, TreeSpec]:
    """How many samples there are; the dim of each tensor among the arguments that they lie along; these, and their structure."""
    given, spec = tree_flatten(args)
    dims, size = _mapped_dims(func, in_dims, given, spec)
    return size, dims, given, spec


def samples_of(level: Level, dims: Sequence, given: Sequence, spec: TreeSpec) -> Any:
    """The arguments of one sample."""
    return tree_unflatten([t if d is None else level.wrap(t.movedim(d, 0) if d else t) for t, d in zip(given, dims)], spec)


def _mapped_dims(func: Callable, in_dims: Any, given: list, spec: TreeSpec) -> tuple[list, int]:
    """For each tensor among the arguments the dim of its samples, and how many these are."""
    call = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>)"
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{call}: expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, got: "
            f"{type(in_dims)}."
        )
    if not given and not spec.children_specs:
        raise ValueError(
            f"vmap({_name(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
            "function with no inputs. The latter is unsupported."
        )
    dims = tree_spread(in_dims, spec)
    if dims is None:
        raise ValueError(
            f"{call}: in_dims is not compatible with the structure of `inputs`. in_dims has structure "
            f"{tree_structure(in_dims)} but inputs has structure {spec}."
        )
    sizes = []
    for i, (x, dim) in enumerate(zip(given, dims, strict=True)):
        if dim is None:
            continue
        if not isinstance(dim, int):
            raise ValueError(f"{call}: Got in_dim={dim} for an input but in_dim must be either an integer dimension or None.")
        if not isinstance(x, Tensor):
            raise ValueError(
                f"{call}: Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot vmap over non-Tensor arguments, "
                "please use None as the respective in_dim"
            )
        n = len(x._shape)
        if not -n <= dim < n:
            raise ValueError(
                f"{call}: Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {n} so expected in_dim to "
                f"satisfy -{n} <= in_dim < {n}."
            )
        if dim < 0:
            dims[i] = dim + n
        sizes.append(x._shape[dim])
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if min(sizes) != max(sizes):
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the mapped dimension"
        )
    return dims, sizes[0]


def unwrapped(func: Callable, level: Level, results: Any, out_dims: Any) -> Any:
    """The results with their samples along ``out_dims``."""
    if results.__class__ is Batched and results._level is level and out_dims.__class__ is int and not out_dims:
        return results._value
    found, spec = tree_flatten(results)
    if isinstance(results, Tensor) and isinstance(out_dims, tuple) and len(out_dims) == 1:
        dims: list | None = list(out_dims)
    else:
        dims = tree_spread(out_dims, spec)
    if dims is None:
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of `outputs`. "
            f"out_dims has structure {tree_structure(out_dims)} but outputs has structure {spec}."
        )
    return tree_unflatten([joined(_name(func), level, x, dim) for x, dim in zip(found, dims, strict=True)], spec)


def joined(name: str, level: Level, x: Any, dim: int | None) -> Any:
    """A result of all samples, along a dim; ``None`` says that they have it in common."""
    if dim is None:
        if level.has(x):
            raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        return x
    if not isinstance(x, Tensor):
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(x)}. Did you mean to set out_dims= to None for "
            "output?"
        )
    every = level.expanded(x)
    return every.movedim(0, dim) if dim else every


def _joined(found: list, out_dims: Any) -> Any:
    """The results of chunks, one after the other."""
    columns, spec = zip(*[tree_leaves(part) for part in found]), tree_structure(found[0])
    dims = tree_spread(out_dims[0] if isinstance(found[0], Tensor) and isinstance(out_dims, tuple) else out_dims, spec)
    assert dims is not None  # or the chunks would have raised
    return tree_unflatten([c[0] if d is None else ops.cat(list(c), d) for c, d in zip(columns, dims)], spec)


def _check_out_dims(func: Callable, out_dims: Any) -> None:
    if not all(x is None or isinstance(x, int) for x in tree_leaves(out_dims)):
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python collection of ints "
            "representing where in the outputs the vmapped dimension should appear."
        )


def _name(func: Callable) -> str:
    if hasattr(func, "__name__"):
        return func.__name__
    return f"functools.partial({_name(func.func)}, ...)" if isinstance(func, functools.partial) else repr(func)


class Steps:
    """What ``vmap`` does around a function; :mod:`flambeau._functorch.vmap` has others where libraries replace them."""

    taken_apart, samples_of, unwrapped = staticmethod(taken_apart), staticmethod(samples_of), staticmethod(unwrapped)


steps = Steps()
