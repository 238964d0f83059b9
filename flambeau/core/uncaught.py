"""Errors that nobody catches are explained before they are shown: in plain programs, and in IPython and notebooks.

Nothing is imported for that before something fails. Whoever shows errors (Python, a debugger, another library's hook) still does.
"""

from __future__ import annotations

import importlib
import sys
from types import TracebackType
from typing import Any

from flambeau.core import config


def explain(error: BaseException) -> None:
    """Adds what is known to ``error``; whatever goes wrong with that, the error itself must be seen, except in tests."""
    try:
        importlib.import_module("flambeau.diagnosis").explain_error(error)
    except Exception:
        if config.strict:
            raise


def install() -> None:
    """Has uncaught errors explained from now on."""
    before = sys.excepthook

    def explained(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        explain(error)
        before(kind, error, error.__traceback__)

    sys.excepthook = explained
    _install_in_ipython()


def _install_in_ipython() -> None:
    """Has errors explained in the shell of IPython or a notebook, unless somebody else shows them; and the magic ``%%doctor``."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or getattr(shell, "custom_exceptions", None) != ():
        return

    def show(
        shell: Any, kind: type[BaseException], error: BaseException, traceback: TracebackType, tb_offset: int | None = None
    ) -> None:
        explain(error)
        shell.showtraceback((kind, error, error.__traceback__), tb_offset=tb_offset)

    def doctor(line: str, cell: str) -> None:
        with importlib.import_module("flambeau").doctor(source=""):
            shell.run_cell(cell)

    shell.set_custom_exc((Exception,), show)
    shell.register_magic_function(doctor, "cell", "doctor")
