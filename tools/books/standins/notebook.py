"""The parts of IPython that cells use, without a screen."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any


def show_nothing(*arguments: Any, **settings: Any) -> None:
    """Shows nothing: pictures and documentation are not compared."""


def install() -> None:
    """Puts IPython's display modules in place, and a matplotlib that has no window."""
    os.environ["MPLBACKEND"] = "Agg"
    for name, members in {
        "IPython": ["get_ipython"],
        "IPython.display": [
            "display",
            "clear_output",
            "HTML",
            "SVG",
            "Image",
            "Audio",
            "Markdown",
            "set_matplotlib_formats",
        ],
        "IPython.core": [],
        "IPython.core.debugger": ["set_trace"],
        "matplotlib_inline": [],
        "matplotlib_inline.backend_inline": ["set_matplotlib_formats"],
    }.items():
        module = ModuleType(name)
        module.__path__ = []
        for member in members:
            setattr(module, member, show_nothing)
        sys.modules[name] = module
        module.version_info = (9, 0, 0)  # what matplotlib asks for
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


class Tab:
    """``tab`` of d2l's build: which framework a cell is read for."""

    def selected(self, *names: str) -> bool:
        return "pytorch" in names

    def interact_select(self, *names: Any) -> None:
        """The book's tabs are chosen by a click; here it is always PyTorch's."""
