"""Rules of operators that look up, write, order and choose by index."""

from __future__ import annotations

from typing import Any

import numpy as np

import flambeau as torch
from flambeau.onnx.importing.registry import array_of, ints, rule

Tensor = torch.Tensor

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _wrapped(indices: Tensor, size: int) -> Tensor:
    """Indices of which negative ones count from the end."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + size, indices)


@rule("Gather")
def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    flat = _wrapped(indices, x.shape[axis]).reshape(-1)
    axis %= x.dim()
    return x.index_select(axis, flat).reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@rule("GatherElements")
def gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    return x.gather(axis, _wrapped(indices, x.shape[axis]))


@rule("GatherND")
def gather_nd(x: Tensor, indices: Tensor, *, batch_dims: int = 0) -> Tensor:
    depth = indices.shape[-1]
    batch = [torch.arange(n).reshape(-1, *[1] * (indices.dim() - 2 - i)) for i, n in enumerate(x.shape[:batch_dims])]
    parts = [_wrapped(indices[..., i], x.shape[batch_dims + i]) for i in range(depth)]
    return x[tuple((*batch, *parts))]


@rule("ScatterElements", "Scatter")
def scatter_elements(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none") -> Tensor:
    places = _wrapped(indices, x.shape[axis])
    if reduction == "none":
        return x.scatter(axis, places, updates)
    return x.scatter_reduce(axis, places, updates, _REDUCTIONS[reduction])


@rule("ScatterND")
def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    depth = indices.shape[-1]
    rest = x.shape[depth:].numel()
    places = torch.zeros(indices.shape[:-1], dtype=torch.int64)
    for i in range(depth):
        places = places * x.shape[i] + _wrapped(indices[..., i], x.shape[i])
    rows, written = x.reshape(-1, rest), updates.reshape(-1, rest)
    at = places.reshape(-1, 1).expand(-1, rest)
    made = rows.scatter(0, at, written) if reduction == "none" else rows.scatter_reduce(0, at, written, _REDUCTIONS[reduction])
    return made.reshape(x.shape)


@rule("TopK", host="k")
def top_k(x: Tensor, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Tensor, Tensor]:
    order = torch.argsort(x, dim=axis, descending=bool(largest), stable=True)  # the first of equals comes first
    places = order.narrow(axis, 0, ints(k)[0])
    return x.gather(axis, places), places


def _extreme(x: Tensor, axis: int, keepdims: int, last: int, find: Any) -> Tensor:
    if last:
        n = x.shape[axis]
        return n - 1 - find(x.flip(axis), axis, keepdim=bool(keepdims))
    return find(x, axis, keepdim=bool(keepdims))


@rule("ArgMax")
def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    return _extreme(x, axis, keepdims, select_last_index, torch.argmax)


@rule("ArgMin")
def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    return _extreme(x, axis, keepdims, select_last_index, torch.argmin)


@rule("NonZero")
def non_zero(x: Tensor) -> Tensor:
    return torch.nonzero(x).T


@rule("Compress")
def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    places = torch.nonzero(condition).reshape(-1)
    return x.reshape(-1).index_select(0, places) if axis is None else x.index_select(axis, places)


@rule("Unique")
def unique(x: Tensor, *, axis: int | None = None, sorted: int = 1) -> tuple[Tensor, ...]:
    values, first, inverse, counts = np.unique(array_of(x), True, True, True, axis)
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        values, first, inverse, counts = np.take(values, order, axis or 0), first[order], place[inverse], counts[order]
    return tuple(torch.tensor(np.ascontiguousarray(a)) for a in (values, first, inverse, counts))


@rule("NonMaxSuppression", host="most iou_threshold score_threshold")
def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    most: Any = None,
    iou_threshold: Any = None,
    score_threshold: Any = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    limit = 0 if most is None else int(most.reshape(()))
    overlap = 0.0 if iou_threshold is None else float(iou_threshold.reshape(()))
    lowest = -np.inf if score_threshold is None else float(score_threshold.reshape(()))
    chosen: list[tuple[int, int, int]] = []
    for batch, (corners, classes) in enumerate(zip(_corners(array_of(boxes), center_point_box), array_of(scores), strict=True)):
        for kind, score in enumerate(classes):
            kept: list[int] = []
            for i in np.argsort(-score, kind="stable"):
                if len(kept) < limit and score[i] > lowest and all(_overlap(corners[i], corners[j]) <= overlap for j in kept):
                    kept.append(int(i))
            chosen += [(batch, kind, i) for i in kept]
    return torch.tensor(chosen, dtype=torch.int64).reshape(-1, 3)


def _corners(boxes: np.ndarray, centered: int) -> np.ndarray:
    """Boxes as their lower and upper corners."""
    if centered:
        middle, half = boxes[..., :2], boxes[..., 2:] / 2
        return np.concatenate([middle - half, middle + half], -1)
    one, other = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(one, other), np.maximum(one, other)], -1)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    both = float(sides.prod())
    whole = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - both
    return both / whole if whole > 0 else 0.0
