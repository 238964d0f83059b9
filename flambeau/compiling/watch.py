"""Running a function once while watching which code runs."""

from __future__ import annotations

import dis
import functools
import os
import sys
from types import CodeType, FrameType
from typing import Any

import numpy as np

from flambeau.core.errors import caller_site, is_own_file
from flambeau.engine import graph, interpreter, run
from flambeau.engine.graph import Node
from flambeau.tensor.record import known, record
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
NUMPY = os.path.dirname(np.__file__) + os.sep

watching: list[Watch] = []
"""The watch that is going on, if there is one; everything that is called meanwhile runs as it is written."""


class Refused(Exception):
    """Why a function cannot be captured."""


# What flambeau's own code may be run by a captured function: what records, and nothing that has any other effect.
_MAY_RUN = (
    "__init__.py", "_C.py", "autograd/anomaly.py", "autograd/entries.py", "autograd/graph.py", "autograd/modes.py", "autograd/saving.py", "autograd/writes.py", "compiler.py",
    "compiling/", "core/", "dispatch.py", "engine/flight.py", "engine/graph.py", "engine/run.py", "engine/segment.py", "engine/trace.py", "jit.py", "nn/",
    "ops/", "tensor/",
)  # fmt: skip
_MAY_NOT = {
    "core/random/": "it draws random numbers", "nn/utils/": "it uses torch.nn.utils", "tensor/printing.py": "it prints a tensor",
    "tensor/pickling.py": "it pickles a tensor", "library/": "it calls operators by torch.ops or of the user's own",
}  # fmt: skip
SUBCLASS = "an argument is a tensor of a subclass"
LIMITS = {_MAY_NOT[path] for path in ("core/random/", "nn/utils/", "library/")} | {SUBCLASS}
"""Reasons that lie in flambeau, not in the program: PyTorch captures such functions as a whole."""
_LOOKS = {
    run._run.__code__: "it looks at values",
    Storage.array.__code__: "it looks at values",
    Tensor.item.__code__: "it looks at values",
    Tensor.tolist.__code__: "it looks at values",
    Storage.expose.__code__: "it gives the memory of a tensor away",
    interpreter.compute_now.__code__: "it computes at once what may fail on the present values",
}
_ARRAY, _SNAPSHOT, _LEAF = Storage.array.__code__, Storage.snapshot.__code__, graph.leaf.__code__
_KNOWN, _RECORD = known.__code__, record.__code__
_CACHED = functools.cached_property.__get__.__code__
"""Attributes of NumPy's that are computed when flambeau asks for them."""


class Watch:
    """What ran while a function was called.

    ``user``       code outside of flambeau with the globals that it ran in; ``layers`` the same of :mod:`flambeau.nn`
    ``leaves``     values that were made; ``snapshots`` those that are copies of memory that NumPy shares:
                   ``(leaf, storage, geometry)``
    ``checks``     of ops that have looked at values to see whether to refuse them
    ``reason``     why the call cannot be captured
    """

    def __init__(self) -> None:
        self.user: dict[tuple[CodeType, int], dict] = {}
        self.layers: dict[tuple[CodeType, int], dict] = {}
        self.leaves: list[Node] = []
        self.snapshots: list[tuple[Node, Storage, tuple]] = []
        self.checks: set[CodeType] = set()
        self.reason: str | None = None
        self._seen: set[tuple[CodeType, int]] = set()

    def call(self, function, args: tuple, kwargs: dict) -> Any:
        """``function(*args, **kwargs)``, watched."""
        watching.append(self)
        Storage.windowed = False
        sys.setprofile(self._event)
        try:
            return function(*args, **kwargs)
        finally:
            sys.setprofile(None)
            Storage.windowed = True
            watching.remove(self)

    def refuse(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason

    def _event(self, frame: FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if event == "call":
            if code in _LOOKS:
                below = frame.f_back
                if code is not _ARRAY or below is None or below.f_code is not _SNAPSHOT:
                    self.refuse(f"{_LOOKS[code]} ({caller_site()})")
            key = code, id(frame.f_globals)
            if key not in self._seen and not (
                code is _CACHED and frame.f_back is not None and is_own_file(frame.f_back.f_code.co_filename)
            ):
                self._seen.add(key)
                self._classify(key, frame.f_globals)
        elif event == "return":
            if code is _LEAF:
                if frame.f_back is None or frame.f_back.f_code is not _SNAPSHOT:
                    self.leaves.append(arg)
            elif code is _SNAPSHOT:
                names = frame.f_locals
                geometry = names["shape"], names["strides"], names["offset"], names["dtype"]
                self.snapshots.append((arg, names["self"], geometry))
            elif code is _KNOWN and arg is not None and not self._may_know(frame):
                self.refuse(f"it looks at values ({caller_site()})")
        elif event == "c_call" and getattr(arg, "__name__", "") == "warn" and getattr(arg, "__module__", "") == "_warnings":
            self.refuse("it warns")

    def _may_know(self, frame: FrameType | None) -> bool:
        """Whether values are looked at only to refuse them, as replays do too: by an op's ``verify`` or ``check``."""
        for _ in range(3):
            frame = frame and frame.f_back
            caller = frame and frame.f_back
            if frame is not None and caller is not None and (caller.f_code is _RECORD or caller.f_code.co_filename == "<recipe>"):
                if frame.f_code.co_name == "check":
                    self.checks.add(frame.f_code)
                return frame.f_code.co_name in ("check", "verify", "_verify")
        return False

    def _classify(self, key: tuple[CodeType, int], scope: dict) -> None:
        name = key[0].co_filename
        if name == "<recipe>" and scope.get("Storage") is Storage or name == "<string>" and "_tuple_new" in scope:
            return  # what follows a recipe, or makes a named tuple
        if name.startswith(NUMPY):
            return  # flambeau called it: the user's code cannot get at NumPy (see guards)
        if not is_own_file(name):
            self.user[key] = scope
            return
        if not name.startswith(ROOT):
            return
        path = name[len(ROOT) :].replace(os.sep, "/")
        for start, reason in _MAY_NOT.items():
            if path.startswith(start):
                self.refuse(reason)
        if not path.startswith(_MAY_RUN):
            self.refuse(f"it calls {key[0].co_name} of flambeau/{path}")
        if path.startswith("nn/"):
            self.layers[key] = scope


# --- what code says about itself -----------------------------------------------------------------------------

_BANNED = frozenset(
    {"__array__", "__dict__", "__weakref__", "_backward_hooks", "_base", "_grad", "_grad_fn", "_storage", "_version", "as_strided", "backward",
     "data_ptr", "grad", "grad_fn", "is_leaf", "is_shared", "numpy", "output_nr", "register_hook", "register_post_accumulate_grad_hook",
     "requires_grad_", "resize_", "retain_grad", "retains_grad", "set_", "share_memory_", "storage", "storage_offset", "untyped_storage",
     "tolist",     "item", "__setattr__", "__setstate__", "__reduce_ex__"}
)  # fmt: skip
"""Attributes that show or change what no guard sees."""

_STORED = frozenset({"data", "requires_grad", "names"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR"})
_IMPORTS = frozenset({"IMPORT_NAME", "IMPORT_FROM", "IMPORT_STAR", "LOAD_BUILD_CLASS"})
_ASYNCHRONOUS = 0x80 | 0x100 | 0x200  # flags of coroutines and asynchronous generators


class Facts:
    """What a piece of the user's code reads by name: ``names`` of attributes and globals, ``globals`` alone."""

    def __init__(self, code: CodeType) -> None:
        self.names = frozenset(code.co_names)
        self.globals: set[str] = set()
        where = f"{code.co_name}, line {{}}"
        if code.co_flags & _ASYNCHRONOUS:
            raise Refused(f"{code.co_name} is asynchronous")
        handlers = 0
        line = code.co_firstlineno
        for i in dis.get_instructions(code):
            if i.starts_line and i.starts_line is not True:
                line = i.starts_line
            name = i.opname
            if name in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"):
                self.globals.add(i.argval)
            elif name in _ATTRIBUTES and (i.argval in _BANNED or name == "STORE_ATTR" and i.argval in _STORED):
                raise Refused(f"it uses '.{i.argval}' ({where.format(line)})")
            elif name in _IMPORTS:
                raise Refused(f"it imports or defines a class ({where.format(line)})")
            elif name == "CHECK_EXC_MATCH":
                raise Refused(f"it catches exceptions ({where.format(line)})")
            elif name == "PUSH_EXC_INFO":
                handlers += 1
            elif name == "WITH_EXCEPT_START":
                handlers -= 1
        if handlers:
            raise Refused(f"it has a 'try' ({code.co_name})")


_facts: dict[CodeType, Facts] = {}


def facts_of(code: CodeType) -> Facts:
    found = _facts.get(code)
    if found is None:
        found = Facts(code)
        if len(_facts) >= 4096:
            _facts.clear()
        _facts[code] = found
    return found


def attributes_of(code: CodeType) -> frozenset[str]:
    """The names of attributes that code of flambeau's reads or writes."""
    found = _attributes.get(code)
    if found is None:
        found = _attributes[code] = frozenset([i.argval for i in dis.get_instructions(code) if i.opname in _ATTRIBUTES])
    return found


_attributes: dict[CodeType, frozenset[str]] = {}
