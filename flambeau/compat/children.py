"""New processes of a program under the disguise: ``import torch`` means flambeau there too.

A forked child has everything that its parent has. What ``multiprocessing`` starts anew ("spawn", "forkserver") begins with
unpickling what the parent tells it, and imports the program next. So the first thing that it is told is to install the disguise.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

__all__ = ["disguise"]

_CHILD = "__child__"


class _Install:
    """Its pickle installs the disguise where it is loaded: it runs this file by its path, before ``sys.path`` is the parent's."""

    def __reduce__(self) -> tuple:
        from flambeau.core import config

        return runpy.run_path, (__file__, {"legacy": config.legacy}, _CHILD)


def disguise(spawn: ModuleType) -> None:
    """Has the module ``multiprocessing.spawn`` tell new processes to install the disguise."""
    tell: Callable[[str], dict[str, Any]] = spawn.get_preparation_data

    @wraps(tell)
    def tell_more(name: str) -> dict[str, Any]:
        told = tell(name)
        if name == "ignore":  # a fork server asks what to import ahead: not the program, since it is told nothing else
            told.pop("init_main_from_path", None)
        return {"flambeau": _Install(), **told}

    spawn.get_preparation_data = tell_more  # type: ignore[attr-defined]


if __name__ == _CHILD:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from flambeau import compat
    from flambeau.core import config

    config.legacy = legacy  # type: ignore[name-defined]  # noqa: F821
    compat.install()
