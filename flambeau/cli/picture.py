"""Pictures: SVG and HTML of our own making, PNG through matplotlib."""

from __future__ import annotations

import argparse
import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Curves = Sequence[tuple[str, Sequence[Sequence[float]]]]
"""Label, and the series that share it and its colour."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")


def picture_path(text: str) -> Path:
    """The path of a picture to be written, for argparse: what could not be written is refused before the work starts."""
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix not in (".html", ".svg", ".png"):
        raise argparse.ArgumentTypeError(f"a picture is .html, .svg or .png, got '{suffix}' ({path})")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write {path}: there is no folder {path.parent}")
    if suffix == ".png":
        try:
            _pyplot()
        except ImportError:
            raise argparse.ArgumentTypeError(
                "a .png needs matplotlib: pip install 'flambeau[plot]', or ask for .html or .svg, which need nothing"
            ) from None
    return path


def save_curves(path: Path, title: str, curves: Curves, below: str = "") -> None:
    """Draw `curves` over their steps, on a logarithmic scale, into `path`; an HTML page has the text `below` too."""
    if path.suffix.lower() == ".png":
        _curves_png(path, title, curves)
    else:
        _write(path, title, curves_svg(title, curves), below)


def save_confusion(path: Path, title: str, counts: Sequence[Sequence[int]], below: str = "") -> None:
    """Draw a matrix of how often class i (row) was taken for class j (column)."""
    if path.suffix.lower() == ".png":
        _confusion_png(path, title, counts)
    else:
        _write(path, title, confusion_svg(title, counts), below)


def _write(path: Path, title: str, svg: str, below: str) -> None:
    text = _page(title, svg, below) if path.suffix.lower() == ".html" else svg
    path.write_text(text, encoding="utf-8")


def _page(title: str, svg: str, below: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        "<style>body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}"
        "svg{max-width:100%;height:auto}pre{font-size:12px;overflow-x:auto}</style>\n"
        f"{svg}\n<pre>{html.escape(below)}</pre>\n</html>\n"
    )


def drawing(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """An SVG of a size: the title above the parts."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui,sans-serif" font-size="13" role="img">\n<title>{html.escape(title)}</title>\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n'
        f'<text x="{width / 2:g}" y="24" text-anchor="middle" font-size="16">{html.escape(title)}</text>\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def _exponents(curves: Curves) -> range:
    """The powers of ten between which all positive values lie."""
    values = [v for _, group in curves for series in group for v in series if 0 < v < math.inf]
    low, high = min(values, default=1.0), max(values, default=1.0)
    bottom = math.floor(math.log10(low))
    return range(bottom, max(math.ceil(math.log10(high)), bottom + 1) + 1)


def curves_svg(title: str, curves: Curves) -> str:
    """`curves` over their steps, on a logarithmic scale."""
    width, height, left, right, top, bottom = 960, 540, 70, 20, 44, 50
    legend = 270
    plot_w, plot_h = width - left - right - legend, height - top - bottom
    powers = _exponents(curves)
    steps = max((len(series) for _, group in curves for series in group), default=2)

    def x(step: float) -> float:
        return left + plot_w * step / max(steps - 1, 1)

    def y(value: float) -> float:
        return top + plot_h * (powers[-1] - math.log10(value)) / (powers[-1] - powers[0])

    parts = []
    for power in powers:
        at = y(10.0**power)
        parts.append(f'<path d="M{left} {at:.1f}h{plot_w}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">1e{power}</text>')
    for i in range(6):
        step = max(round(steps * i / 5), 1)
        parts.append(f'<text x="{x(step - 1):.1f}" y="{height - bottom + 20}" text-anchor="middle">{step}</text>')
    parts.append(f'<text x="{left + plot_w / 2:g}" y="{height - 10}" text-anchor="middle">step</text>')
    for i, (label, group) in enumerate(curves):
        colour = COLOURS[i % len(COLOURS)]
        for series in group:
            points = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in enumerate(series) if 0 < v < math.inf)
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-opacity=".8">'
                f"<title>{html.escape(label)}</title></polyline>"
            )
        at = top + 14 + 24 * i
        beside = left + plot_w + 20
        parts.append(f'<path d="M{beside} {at}h22" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{beside + 30}" y="{at + 4}">{html.escape(label)}</text>')
    return drawing(width, height, title, parts)


def confusion_svg(title: str, counts: Sequence[Sequence[int]]) -> str:
    """How often class i (row) was taken for class j (column)."""
    cell, left, top = 44, 70, 74
    size = len(counts)
    parts = [
        f'<text x="{left + cell * size / 2:g}" y="{top - 26}" text-anchor="middle">answered</text>',
        f'<text transform="translate(24 {top + cell * size / 2:g}) rotate(-90)" text-anchor="middle">is</text>',
    ]
    for i, row in enumerate(counts):
        total = sum(row) or 1
        parts.append(f'<text x="{left - 12}" y="{top + cell * i + 27}" text-anchor="end">{i}</text>')
        parts.append(f'<text x="{left + cell * i + cell / 2:g}" y="{top - 8}" text-anchor="middle">{i}</text>')
        for j, count in enumerate(row):
            share = count / total
            colour = "#0072b2" if i == j else "#d55e00"
            at_x, at_y = left + cell * j, top + cell * i
            # A single mistake must still be seen, so what is not zero starts at a quarter.
            opacity = 0.25 + 0.75 * share if count else 0
            parts.append(
                f'<rect x="{at_x}" y="{at_y}" width="{cell}" height="{cell}" fill="{colour}" '
                f'fill-opacity="{opacity:.2f}" stroke="#ddd"/>'
            )
            if count:
                ink = "white" if opacity > 0.6 else "black"
                parts.append(f'<text x="{at_x + cell / 2:g}" y="{at_y + 27}" text-anchor="middle" fill="{ink}">{count}</text>')
    return drawing(left + cell * size + 30, top + cell * size + 24, title, parts)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _curves_png(path: Path, title: str, curves: Curves) -> None:
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(10, 6), layout="constrained")
    for i, (label, group) in enumerate(curves):
        for j, series in enumerate(group):
            steps = range(1, len(series) + 1)
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(steps, series, color=colour, alpha=0.8, linewidth=1.4, label=label if j == 0 else None)
    axes.set(title=title, xlabel="step", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _confusion_png(path: Path, title: str, counts: Sequence[Sequence[int]]) -> None:
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(6.4, 6), layout="constrained")
    shares = [[count / (sum(row) or 1) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if count:
                ink = "white" if shares[i][j] > 0.5 else "#d55e00"
                axes.text(j, i, str(count), ha="center", va="center", color=ink)
    ticks = range(len(counts))
    axes.set(title=title, xlabel="answered", ylabel="is", xticks=ticks, yticks=ticks)
    figure.savefig(path, dpi=120)
    plt.close(figure)
