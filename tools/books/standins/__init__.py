"""What stands in for the world around a book: a notebook's display, downloads, data sets and their weights.

Both sides get the same: small, synthetic, made from fixed seeds.
"""

from __future__ import annotations

import contextlib

from tools.books.standins import folders, notebook, steadiness, vision, web

VARIATIONS = {
    "": [],
    "perturbed": [steadiness.perturb, steadiness.hasten],
    "double": [steadiness.double],
}


def before() -> None:
    """What must stand before any package is imported."""
    notebook.install()


def after(program: str, variation: str = "") -> None:
    """What is put into packages once they are there, and the files beside a program that it mentions.

    Args:
        variation: how this run is to be another one than the first, a key of ``VARIATIONS``.
    """
    folders.place(program)
    web.install()
    steadiness.one_process()
    with contextlib.suppress(ImportError):
        vision.install()
    for change in VARIATIONS[variation]:
        change()


def names() -> dict:
    """Names that a notebook has from the start."""
    silent = notebook.show_nothing
    return {"tab": notebook.Tab(), "get_ipython": silent, "display": silent, "help": silent}
