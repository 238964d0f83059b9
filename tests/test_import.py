"""What ``import flambeau`` leaves for later: compiling, and all that only some programs use."""

from __future__ import annotations

import subprocess
import sys

LATER = [
    "llvmlite", "ctypes", "multiprocessing", "asyncio", "http", "socket", "unittest", "xml", "zipfile",
    "flambeau.engine.grouping", "flambeau.engine.lowered", "flambeau.engine.plan", "flambeau.engine.symbols", "flambeau.engine.cpu.compiler",
    "flambeau.compiling", "flambeau.diagnosis.doctor", "flambeau.distributed", "flambeau.export", "flambeau.fx", "flambeau.jit", "flambeau.onnx",
    "flambeau.serve", "flambeau.slim", "flambeau.sparse", "flambeau.nested", "flambeau.utils.tensorboard",
]  # fmt: skip


def test_what_is_not_used_is_not_loaded():
    code = f"import sys, numpy; before = set(sys.modules); import flambeau; print([m for m in {LATER} if m in sys.modules and m not in before])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_names_that_are_imported_later_are_not_there_already():
    """A name that is bound when flambeau is imported never comes to its entry in the table, which may then say anything."""
    program = "import flambeau; from flambeau._names import NAMES; print([name for name in NAMES if name in vars(flambeau)])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
