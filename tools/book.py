"""The chapters of the book and their pictures, which are drawn of what the chapters' own programs have computed.

``python -m tools.book CHAPTER ...`` runs chapters and draws their pictures anew; with ``--check`` it compares instead: a picture
keeps the numbers that it was drawn of, which must be those of the program, as far as other processors round alike.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flambeau.cli.picture import confusion_svg, curves_svg, drawing
from tools.pages import run_blocks

BOOK = Path(__file__).parent.parent / "docs" / "book"
CHAPTERS = sorted(page for page in BOOK.glob("[0-9]*.md") if not page.name.endswith(".zh.md"))


def chinese(page: Path) -> Path:
    """The same page in Chinese."""
    return page.with_name(f"{page.stem}.zh.md")


@dataclass(frozen=True)
class Picture:
    """A picture of a chapter: what it is drawn of, how, and when two such data are as good as the same."""

    data: Callable[[dict], Any]
    draw: Callable[[Any], str]
    alike: Callable[[Any, Any], bool]

    def text(self, data: Any) -> str:
        kept = f"<desc>{json.dumps(data, separators=(',', ':'))}</desc>"
        return self.draw(data).replace("</title>", f"</title>\n{kept}", 1) + "\n"


def kept(picture: Path) -> Any:
    """The numbers that a picture was drawn of."""
    found = re.search(r"<desc>(.*)</desc>", picture.read_text(encoding="utf-8"))
    assert found is not None, f"{picture.name} has no numbers with it"
    return json.loads(found[1])


def _losses(title: str, curves: Callable[[dict], dict[str, Sequence[float]]]) -> Picture:
    def data(names: dict) -> dict[str, list[float]]:
        return {label: [float(f"{loss:.3g}") for loss in losses] for label, losses in curves(names).items()}

    def alike(one: dict[str, list[float]], other: dict[str, list[float]]) -> bool:
        return one.keys() == other.keys() and all(
            len(one[label]) == len(other[label]) and all(abs(math.log(a / b)) < 0.3 for a, b in zip(one[label], other[label]))
            for label in one
        )

    return Picture(data, lambda curves: curves_svg(title, [(label, [losses]) for label, losses in curves.items()]), alike)


def _attended(shares: list[list[list[float]]]) -> str:
    """A square for each head: who looks (rows) at whom (columns), darker the more."""
    cell, gap, top = 30, 40, 84
    steps, parts = len(shares[0]), []
    for head, rows in enumerate(shares):
        left = gap + head * (steps * cell + gap)
        parts.append(f'<text x="{left + steps * cell / 2:g}" y="{top - 26}" text-anchor="middle">head {head + 1}</text>')
        for i, row in enumerate(rows):
            parts.append(f'<text x="{left - 10}" y="{top + i * cell + 20}" text-anchor="end" fill="#777">{i + 1}</text>')
            parts.append(f'<text x="{left + i * cell + cell / 2:g}" y="{top - 8}" text-anchor="middle" fill="#777">{i + 1}</text>')
            for j, share in enumerate(row):
                parts.append(
                    f'<rect x="{left + j * cell}" y="{top + i * cell}" width="{cell}" height="{cell}" fill="#0072b2" '
                    f'fill-opacity="{share:.2f}" stroke="#ddd"/>'
                )
    width = gap + len(shares) * (steps * cell + gap)
    return drawing(width, top + steps * cell + 20, "Who looks (row) at whom (column)", parts)


def _views(names: dict) -> dict[str, list[str]]:
    """Pictures of the scene and of the net, with sixteen shades of each colour: a hexadecimal digit each."""

    def digits(picture: Any) -> str:
        return "".join(f"{round(15 * min(max(shade, 0.0), 1.0)):x}" for shade in picture.flatten().tolist())

    return {"the scene": [digits(picture) for picture in names["true"]], "the net": [digits(picture) for picture in names["own"]]}


def _turning(views: dict[str, list[str]], seconds: float = 4.0) -> str:
    """Pictures beside each other, which turn: each is there for its part of the time, and the first where nothing moves."""
    size, parts = 200, []
    for k, (label, pictures) in enumerate(views.items()):
        left = 40 + k * (size + 40)
        parts.append(f'<text x="{left + size // 2}" y="{size + 84}" text-anchor="middle">{label}</text>')
        for i, digits in enumerate(pictures):
            seen = [at == i for at in range(len(pictures))]
            values = ";".join("visible" if there else "hidden" for there in seen)
            parts.append(
                f'<image x="{left}" y="50" width="{size}" height="{size}" visibility="{"hidden" if i else "visible"}" '
                f'style="image-rendering:pixelated" href="data:image/bmp;base64,{_bitmap(digits)}">'
                f'<animate attributeName="visibility" calcMode="discrete" values="{values}" dur="{seconds:g}s" repeatCount="indefinite"/></image>'
            )
    return drawing(40 + len(views) * (size + 40), size + 110, "Twelve sides that the net has not seen", parts)


def _bitmap(digits: str) -> str:
    """A square picture of hexadecimal digits, red, green and blue in turn, as a file of BMP's in base64."""
    side = math.isqrt(len(digits) // 3)
    shades = bytes(17 * int(digit, 16) for digit in digits)
    rows = [shades[3 * side * i : 3 * side * (i + 1)] for i in range(side)]
    padded = [b"".join(row[3 * j : 3 * j + 3][::-1] for j in range(side)) + bytes(-3 * side % 4) for row in rows]
    content = b"".join(reversed(padded))  # from below, blue first
    head = struct.pack(
        "<2sIIIIiiHHIIiiII", b"BM", 54 + len(content), 0, 54, 40, side, side, 1, 24, 0, len(content), 2835, 2835, 0, 0
    )
    return base64.b64encode(head + content).decode()


def _same_views(one: dict[str, list[str]], other: dict[str, list[str]]) -> bool:
    def apart(a: str, b: str) -> float:
        return sum(abs(int(x, 16) - int(y, 16)) for x, y in zip(a, b, strict=True)) / len(a)

    return one.keys() == other.keys() and all(
        apart(a, b) < 1.0 for label in one for a, b in zip(one[label], other[label], strict=True)
    )


def _rounded(values: Any) -> Any:
    return [_rounded(v) for v in values] if isinstance(values, list) else round(values, 2)


def _near(one: Any, other: Any) -> bool:
    return all(map(_near, one, other)) if isinstance(one, list) else abs(one - other) <= 0.1


def _few_moved(one: list[list[int]], other: list[list[int]]) -> bool:
    return sum(abs(a - b) for row, others in zip(one, other) for a, b in zip(row, others)) <= 8


PICTURES = {
    "01-numpy": _losses("Gradient descent on the two-layer net", lambda names: {"loss": names["losses"]}),
    "06-training": _losses("Three optimizers learn a sine", lambda names: names["curves"]),
    "08-pictures": Picture(
        lambda names: names["counts"].tolist(),
        lambda counts: confusion_svg("360 digits that the net had not seen", counts),
        _few_moved,
    ),
    "10-attention": Picture(lambda names: _rounded(names["shares"].tolist()), _attended, _near),
    "14-nerf": Picture(_views, _turning, _same_views),
}


def main(arguments: Sequence[str]) -> None:
    check = "--check" in arguments
    for name in [a for a in arguments if a != "--check"] or [page.stem for page in CHAPTERS]:
        names = run_blocks(BOOK / f"{name}.md")
        if (picture := PICTURES.get(name)) is None:
            continue
        path = BOOK / "pictures" / f"{name}.svg"
        data = picture.data(names)
        if not check:
            path.write_text(picture.text(data), encoding="utf-8")
        elif not picture.alike(kept(path), data):
            raise SystemExit(f"{path.name} shows something else than the chapter computes: python -m tools.book {name}")
        elif path.read_text(encoding="utf-8") != picture.text(kept(path)):
            raise SystemExit(f"{path.name} is not drawn as tools/book.py draws it: python -m tools.book {name}")


if __name__ == "__main__":
    main(sys.argv[1:])
