"""``torch.func.rearrange``: dims permuted, split and merged by a pattern of their names."""

from __future__ import annotations

import re
from math import prod
from typing import Any

from flambeau import ops
from flambeau.tensor import Tensor

__all__ = ["rearrange"]

_AXIS = re.compile(r"\.\.\.|[()]|[A-Za-z]\w*|1|\S")
REST = "..."


def rearrange(tensor: Tensor | list[Tensor] | tuple[Tensor, ...], pattern: str, **axes_lengths: int) -> Tensor:
    """The elements of a tensor in other dims, by a pattern as in the library ``einops``.

    On both sides of ``->`` stand the names of dims, each once; in brackets those that one dim is split into or made of, the last
    one changing fastest; ``...`` stands for further dims, and ``1`` for a dim of size 1. ``axes_lengths`` gives sizes that do not
    follow.

    Args:
        tensor: a tensor, or a list of tensors of one shape, which are stacked: their number is the first dim.

    Raises:
        ValueError: the pattern is none, or does not fit the tensor.

    >>> import flambeau as torch
    >>> images = torch.arange(24.0).reshape(2, 3, 4)
    >>> torch.func.rearrange(images, "b c (h w) -> b (h c) w", h=2).shape
    torch.Size([2, 6, 2])
    >>> torch.func.rearrange(images, "b ... -> (...) b").shape
    torch.Size([12, 2])

    Source: Rogozhnikov, "Einops: Clear and Reliable Tensor Manipulations with Einstein-like Notation", ICLR 2022.
    """
    x: Tensor = tensor if isinstance(tensor, Tensor) else ops.stack(list(tensor))
    left, arrow, right = pattern.partition("->")
    if not arrow or "->" in right:
        raise ValueError(f"Expected one '->' in the pattern, got {pattern!r}")
    given, wanted = _groups(left, pattern), _groups(right, pattern)
    known, named = _names(given, pattern), _names(wanted, pattern)
    missing = sorted({n for n in known ^ named if n != "1"})
    if missing:
        raise ValueError(f"Identifiers should be on both sides of the pattern {pattern!r}: {', '.join(missing)}")
    unknown = sorted(set(axes_lengths) - known)
    if unknown:
        raise ValueError(f"Axis length given for {', '.join(unknown)}, which the pattern {pattern!r} does not have")
    sizes, order = _split(x, given, axes_lengths, pattern)
    shape = [size for _, size in order]
    split = x.reshape(shape)
    places = {name: i for i, (name, _) in enumerate(order)}
    rest = [name for name, _ in order if name.startswith(REST)]
    parts = [
        [n for part in ([group] if isinstance(group, str) else group) for n in (rest if part == REST else [part]) if n != "1"]
        for group in wanted
    ]
    permuted = split.permute([places[name] for names in parts for name in names])
    result: list[int] = []
    for group, names in zip(wanted, parts, strict=True):
        if group == REST:
            result += [sizes[name] for name in names]
        else:
            result.append(prod(sizes[name] for name in names))
    return permuted.reshape(result)


def _groups(side: str, pattern: str) -> list[str | list[str]]:
    """The dims that one side of a pattern names: a name, ``...``, or a list of what stands in brackets."""
    groups: list[str | list[str]] = []
    inside: list[str] | None = None
    for word in _AXIS.findall(side):
        if word == "(" and inside is None:
            inside = []
        elif word == ")" and inside is not None:
            groups.append(inside)
            inside = None
        elif not (word in (REST, "1") or word.isidentifier()):
            raise ValueError(f"Unexpected {word!r} in the pattern {pattern!r}")
        elif inside is None:
            groups.append(word)
        else:
            inside.append(word)
    if inside is not None:
        raise ValueError(f"Brackets are not closed in the pattern {pattern!r}")
    return groups


def _names(groups: list[str | list[str]], pattern: str) -> set[str]:
    names = [part for group in groups for part in ([group] if isinstance(group, str) else group) if part != "1"]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} stands twice on one side of the pattern {pattern!r}")
    return set(names)


def _split(
    tensor: Tensor, given: list[str | list[str]], lengths: dict[str, int], pattern: str
) -> tuple[dict[str, int], list[tuple[str, Any]]]:
    """The size of every name, and the names in the order of the tensor's dims once these are split; those of ``...`` have numbers."""
    plain = sum(group != REST for group in given)
    further = tensor.dim() - plain
    if further < 0 or further and plain == len(given):
        raise ValueError(f"Number of dimensions in pattern, {plain}, does not match the tensor's, {tensor.dim()}: {pattern!r}")
    order: list[tuple[str, Any]] = []
    d = 0
    for group in given:
        if group == REST:
            for i in range(further):
                order.append((f"{REST}{i}", tensor.shape[d + i]))
            d += further
            continue
        group = [group] if isinstance(group, str) else group
        if REST in group:
            raise ValueError(f"'...' in brackets on the left side of the pattern {pattern!r}")
        size, d = tensor.shape[d], d + 1
        rest = size
        free = [name for name in group if name != "1" and name not in lengths]
        for name in group:
            if name in lengths:
                rest, over = divmod(rest, lengths[name]) if lengths[name] else (0, size)
                if over:
                    raise ValueError(f"A dim of size {size} cannot be split into {' '.join(group)} with {lengths}: {pattern!r}")
        if len(free) > 1 or not free and rest != 1:
            raise ValueError(
                f"A dim of size {size} cannot be split into {' '.join(group) or '1'}: {'give the size of one' if free else 'the sizes do not fit'} ({pattern!r})"
            )
        order += [(name, lengths.get(name, rest)) for name in group if name != "1"]
    return dict(order), order
