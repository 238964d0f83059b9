"""Numbers made as few as a chart can show, without losing what stands out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.board.runs import Histogram, Scalars

POINTS = 800
"""A chart gets about so many points of a series."""
BINS = 60


def smoothed(values: np.ndarray, weight: float) -> np.ndarray:
    """The exponential moving average whose beginning is not drawn to 0; as in TensorBoard, numbers that are not finite are left
    out.

    >>> smoothed(np.array([1.0, 3.0]), 0.5).round(3).tolist()
    [1.0, 2.333]
    """
    if weight <= 0 or values.size < 2:
        return values
    out, average, share = [], 0.0, 1.0
    for x in values.tolist():
        if x - x == 0:  # finite
            average = average * weight + (1 - weight) * x
            share *= weight
            x = average / (1 - share)
        out.append(x)
    return np.array(out)


def thinned(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> np.ndarray:
    """The numbers of some points of a curve: of each of equal stretches the first, the least, the largest and the last.

    >>> y = np.zeros(10_000); y[1234] = 5
    >>> kept = thinned(np.arange(10_000), y, 100)
    >>> len(kept) <= 100, 1234 in kept
    (True, True)
    """
    n = x.size
    if n <= points:
        return np.arange(n)
    stretches = max(1, points // 4)
    edges = np.linspace(0, n, stretches + 1).astype(int)
    known = np.where(np.isfinite(y), y, np.nan)
    kept = {0, n - 1}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist()):
        part = known[start:end]
        kept |= {start, end - 1}
        if np.isfinite(part).any():
            kept |= {start + int(np.nanargmin(part)), start + int(np.nanargmax(part))}
    found = np.array(sorted(kept))
    return found if found.size <= points else np.unique(found[np.linspace(0, found.size - 1, points).astype(int)])


def curve(series: Scalars, weight: float, axis: str, low: float | None, high: float | None, began: float) -> dict[str, Any]:
    """A series as a chart draws it: ``x``, raw values ``y`` and smoothed ones ``s``, between ``low`` and ``high`` of the axis."""
    count = len(series.values)
    steps, times = np.array(series.steps[:count], np.float64), np.array(series.times[:count])
    y = np.array(series.values[:count])
    x = {"step": steps, "relative": times - began, "wall": times}[axis]
    s = smoothed(y, weight)
    if low is not None or high is not None:
        inside = np.flatnonzero((x >= (-np.inf if low is None else low)) & (x <= (np.inf if high is None else high)))
        x, y, s, steps = x[inside], y[inside], s[inside], steps[inside]
    kept = thinned(x, y)
    return {"x": x[kept].tolist(), "y": plain(y[kept]), "s": plain(s[kept]), "steps": steps[kept].tolist(), "count": count}


def plain(values: np.ndarray) -> list[float | None]:
    """Numbers for JSON, which has none that are not finite."""
    return [x if x - x == 0 else None for x in values.tolist()]


def rebinned(histograms: Sequence[Histogram], most: int = 40) -> dict[str, Any]:
    """Up to ``most`` of the histograms of a tag, spread over its steps, with the same bins."""
    chosen = [histograms[i] for i in sorted({round(k) for k in np.linspace(0, len(histograms) - 1, min(most, len(histograms)))})]
    low, high = min(h.low for h in chosen), max(h.high for h in chosen)
    if not np.isfinite(low) or not np.isfinite(high):
        low, high = -1.0, 1.0
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    rows = []
    for h in chosen:
        limits = np.clip(np.array(h.limits), low, high)
        left = np.concatenate([[min(h.low, limits[0])], limits[:-1]])
        total = np.concatenate([[0.0], np.cumsum(h.counts)])
        places = np.concatenate([[left[0]], limits])
        rows.append(np.diff(np.interp(edges, places, total)).tolist())
    return {"low": low, "high": high, "steps": [h.step for h in chosen], "rows": rows, "count": len(histograms)}
