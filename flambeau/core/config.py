"""Settings of the whole process, read by the floors above."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

eager: bool = os.environ.get("FLAMBEAU_EAGER", "") not in ("", "0")
"""Immediate mode: every op runs as it is called (``FLAMBEAU_EAGER=1``)."""

_wanted = os.environ.get("FLAMBEAU_COMPILE", "1") != "0"
compiled: bool = _wanted and importlib.util.find_spec("llvmlite") is not None
"""Traces that are seen again are compiled, where there is llvmlite; ``FLAMBEAU_COMPILE=0`` leaves all to the interpreter."""

lacks_compiler: bool = _wanted and not compiled
"""Whether only the missing llvmlite keeps traces from being compiled; false once the user has been told that this costs speed."""

compile_after: int = int(os.environ.get("FLAMBEAU_COMPILE_AFTER", "1"))
"""How often a trace runs in the interpreter before it is compiled; 0 compiles it on first sight."""

deterministic: bool = False
"""Whether results may depend on nothing but the program and its data; see :mod:`flambeau.determinism`."""

training: bool = False
"""Whether there has been an optimizer. Then traces are compiled on first sight, if compiling has been worth its time: kernels add
up in another order than NumPy, and a training that goes on from a checkpoint shall do so with the same bits."""

log: frozenset[str] = frozenset(os.environ.get("FLAMBEAU_LOG", "").replace(",", " ").split())
"""What is told on stderr (``FLAMBEAU_LOG``, topics with commas between them): ``plan``, each plan as it is made; ``after:NAME``,
what there is after a pass, see :mod:`flambeau.engine.passes`; ``guards``, which functions are captured, and why not."""

strict: bool = os.environ.get("FLAMBEAU_STRICT", "0") != "0"
"""What flambeau gets over silently is an error, such as a trace that cannot be compiled (``FLAMBEAU_STRICT=1``, for tests)."""

guard: bool = os.environ.get("FLAMBEAU_GUARD", "0") != "0"
"""Arrays lie beside pages of memory that nobody may touch (``FLAMBEAU_GUARD=1``, for tests); see :mod:`flambeau.engine.cpu.guard`.
"""

ahead: float = float(os.environ.get("FLAMBEAU_AHEAD", "50")) * 1e-6
"""Kernels that take longer than this (``FLAMBEAU_AHEAD``, in microseconds) may run while Python goes on; ``inf``: none do."""

values_unknown: bool = False
"""Whether what is recorded shall hold for all values: then no op looks at those that it relies on, but is one that checks them when
it runs; see :mod:`flambeau.slim.recording`."""

pickled: Callable | None = None
"""How objects are pickled where ``torch`` means flambeau: in PyTorch's words; see :mod:`flambeau.serialization.pickles`."""

legacy: bool = False
"""Spellings of PyTorch before 0.4 work with a DeprecationWarning (``flambeau run --legacy``)."""

max_pending_nodes: int = 32768
"""The recorded graph runs when it has so many nodes ..."""

max_pending_bytes: int = 256 << 20
"""... or when its results would take so many bytes."""

num_threads: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
