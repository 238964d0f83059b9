"""What notebooks show of tensors, modules and optimizers: ``_repr_html_``."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

import numpy as np

from flambeau.diagnosis.language import Text
from flambeau.nn import Module
from flambeau.optim import Optimizer
from flambeau.pictures.summary import summary
from flambeau.pictures.values import described, numbers_of, short_dtype
from flambeau.tensor import Tensor
from flambeau.utils.tensorboard.images import png

LINES = 12
"""Longer texts are folded."""
MAP = 96
"""A heat map has so many rows and columns at most; of larger tensors each cell is the mean of a block."""


def html(x: Any) -> str | None:
    """``x`` as HTML; ``None`` where there is nothing but its text to show."""
    if isinstance(x, Tensor):
        return _tensor(x)
    if isinstance(x, Module):
        return summary(x)._repr_html_()
    return _optimizer(x) if isinstance(x, Optimizer) else None


def _tensor(t: Tensor) -> str | None:
    if t.is_meta or hasattr(type(t), "_intercept"):  # nothing to see, or a class that prints in its own way
        return None
    told = described(t)
    facts = [f"{short_dtype(t.dtype)} {list(t.shape)}"]
    if t.grad_fn is not None:
        facts.append(f"grad_fn {type(t.grad_fn).__name__}")
    elif t.requires_grad:
        facts.append("requires_grad")
    if "min" in told and told["count"] > 1:
        facts += [f"{name} {_short(told[name])}" for name in ("min", "max", "mean", "std")]
    if told["zeros"]:
        facts.append(f"zeros {told['zeros']:,}")
    if told["odd"]:
        facts.append(f'<b style="color:#b3261e">NaN/inf {told["odd"]:,}</b>')
    lines = [f'<div style="font-family:sans-serif">{" · ".join(facts)}</div>']
    if t.dim() and t.numel() > 1:
        lines.append(heat_map(t))
    text = repr(t)
    shown = f'<pre style="margin:2px 0">{escape(text)}</pre>'
    if text.count("\n") >= LINES:
        shown = f"<details><summary>{Text('numbers', '数值')}</summary>{shown}</details>"
    lines.append(shown)
    return f"<div>{''.join(lines)}</div>"


def _short(x: float | str) -> str:
    return x if isinstance(x, str) else f"{x:.4g}"


def heat_map(t: Tensor) -> str:
    """A picture of a tensor: rows of its last dim one below the other, blue above 0, brown below, red where there is no number.

    >>> import flambeau as torch
    >>> heat_map(torch.tensor([[1.0, -1.0]]))[:32]
    '<img src="data:image/png;base64,'
    """
    array = numbers_of(t)
    grid = _reduced(array.reshape(-1, array.shape[-1]).astype(np.float64))
    known = np.isfinite(grid)
    most = np.abs(grid[known]).max(initial=0.0) or 1.0
    strength = np.where(known, np.abs(np.where(known, grid, 0.0)) / most, 1.0)[..., None]
    full = np.where((grid < 0)[..., None], _BROWN, _BLUE)
    full = np.where(known[..., None], full, _RED)
    image = (255 + strength * (full - 255.0)).round().astype(np.uint8)
    rows, columns = grid.shape
    cell = max(1, min(12, 384 // max(rows, columns)))
    data = base64.b64encode(png(image)).decode()
    return (
        f'<img src="data:image/png;base64,{data}" alt="{rows} x {columns}" width="{columns * cell}" height="{rows * cell}" '
        'style="image-rendering:pixelated;border:1px solid #c9d1da;max-width:100%">'
    )


_BLUE, _BROWN, _RED = np.array([23, 105, 170]), np.array([179, 84, 30]), np.array([220, 20, 60])


def _reduced(grid: np.ndarray) -> np.ndarray:
    """At most :data:`MAP` rows and columns, each the mean of a block."""
    for axis in (0, 1):
        n = grid.shape[axis]
        if n > MAP:
            edges = np.linspace(0, n, MAP + 1).astype(int)
            with np.errstate(invalid="ignore"):
                sums = np.add.reduceat(grid, edges[:-1], axis=axis)
            grid = sums / np.diff(edges).reshape((-1, 1) if axis == 0 else (1, -1))
    return grid


def _optimizer(optimizer: Optimizer) -> str:
    groups = optimizer.param_groups
    names = sorted({key for group in groups for key in group} - {"params"})
    head = "".join(f"<th>{escape(str(key))}</th>" for key in ("group", "parameters", *names))
    rows = []
    for i, group in enumerate(groups):
        tensors = group["params"]
        count = f"{len(tensors)} tensors, {sum(p.numel() for p in tensors):,} numbers"
        cells = [str(i), count, *[_setting(group.get(key)) for key in names]]
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    steps = [int(state["step"]) for state in optimizer.state.values() if "step" in state]
    kept = sum(t.numel() * t.element_size() for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor))
    foot = f"state: {kept / 1024:.1f} KiB" + (f", step {max(steps)}" if steps else "")
    return f"<b>{escape(type(optimizer).__name__)}</b><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table><p>{foot}</p>"


def _setting(x: Any) -> str:
    return f"{x:g}" if isinstance(x, float) else str(x)
