"""What TensorBoard's projector shows: points of many dimensions, with labels and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.utils.tensorboard.images import make_grid, make_np, png

__all__ = ["entry", "write_metadata", "write_points", "write_sprite"]


def write_points(mat: np.ndarray, folder: Path) -> None:
    """A line of numbers for each point."""
    lines = ("\t".join(str(x.item()) for x in row) + "\n" for row in mat)
    (folder / "tensors.tsv").write_text("".join(lines))


def write_metadata(metadata: Sequence, folder: Path, header: Sequence[str] | None) -> None:
    """A line for each point: its label, or its labels under a ``header``."""
    if header:
        if len(header) != len(metadata[0]):
            raise AssertionError("len of header must be equal to the number of columns in metadata")
        lines = ["\t".join(map(str, row)) for row in [header, *metadata]]
    else:
        lines = [str(label) for label in metadata]
    (folder / "metadata.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_sprite(pictures: Any, folder: Path) -> None:
    """All pictures (n, channels, height, width), numbers from 0 to 1, in one that is square."""
    grid = make_grid(make_np(pictures), ncols=math.ceil(len(pictures) ** 0.5)).transpose(1, 2, 0)
    whole = np.zeros((grid.shape[1], grid.shape[1], 3))
    whole[: grid.shape[0]] = grid
    (folder / "sprite.png").write_bytes(png((whole * 255).clip(0, 255).astype(np.uint8)))


def entry(folder: str, step: int, tag: str, labelled: bool, picture: tuple[int, int] | None) -> str:
    """The lines of ``projector_config.pbtxt`` for the points in a folder; ``picture``: the width and the height of one."""
    lines = [f'  tensor_name: "{tag}:{str(step).zfill(5)}"']
    if labelled:
        lines.append(f'  metadata_path: "{folder}/metadata.tsv"')
    if picture is not None:
        width, height = picture
        lines += [
            "  sprite {",
            f'    image_path: "{folder}/sprite.png"',
            f"    single_image_dim: {width}",
            f"    single_image_dim: {height}",
            "  }",
        ]
    lines.append(f'  tensor_path: "{folder}/tensors.tsv"')
    return "embeddings {\n" + "\n".join(lines) + "\n}\n"
