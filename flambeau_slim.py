"""Runs models that ``flambeau export`` wrote: NumPy and Python's own library are all that it takes.

    import flambeau_slim

    model = flambeau_slim.load("model.slim")
    scores = model(images)              # NumPy arrays in, NumPy arrays out

A ``.slim`` file is a zip archive whose members are not compressed:

    manifest.json               the version, what goes in and comes out, and the SHA-256 of every other member
    weights.safetensors         the weights, in the format of https://github.com/huggingface/safetensors; mapped, never copied
    targets/NAME/code.bin       machine code for a kind of machine, such as x86-64-v3,
    targets/NAME/code.json      and how it lies in memory
    targets/NAME/plan-0.json    which kernels run on what; one such plan for each size that arguments may have
    graph.json                  the calls of functions that all this was made of; flambeau reads it, this module does not

The archive's comment ends with the SHA-256 of the manifest, so a file that is damaged anywhere is refused. That is no protection
against who writes such a file on purpose: it has machine code, so load files of people whose programs you would run, or say which
one you expect (``load(path, digest=...)``). Code is written while it cannot run, and runs when it can no longer be written.

This one file may be copied beside a model. It is part of flambeau, and under its licence (MIT).
"""

from __future__ import annotations

import ctypes
import json
import math
import mmap
import os
import platform
import re
import struct
import sys
import threading
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, NamedTuple, NoReturn

import numpy as np

__all__ = ["Array", "Model", "SlimError", "load", "targets"]

FORMAT, VERSION = "flambeau-slim", 1
COMMENT = f"{FORMAT} {VERSION} sha256:".encode()
"""What the archive's comment begins with; the manifest's hash follows, as 64 digits."""
PAGE = 1 << 16
"""Parts of the code begin with pages, of which no machine has larger ones."""


class SlimError(ValueError):
    """A file that is damaged, or not one that can be run here; the message says why."""


class Array(NamedTuple):
    """An array that goes in or comes out. Sizes that may be others are ``None``."""

    name: str
    dtype: np.dtype
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join('?' if n is None else str(n) for n in self.shape)}]"


def load(path: str | os.PathLike, *, target: str | None = None, threads: int | None = None, digest: str | None = None) -> Model:
    """The model in a file.

    ``target`` names the machine code to take, which is the best for this machine if it is not given. So many ``threads`` compute,
    one if neither this nor ``FLAMBEAU_SLIM_THREADS`` says otherwise; the results have the same bits. ``digest`` is that of the
    file which is expected (:attr:`Model.digest`).

    Raises ``SlimError`` where the file is not as it should be, and ``OSError`` where it cannot be read.
    """
    count = int(os.environ.get("FLAMBEAU_SLIM_THREADS", "1")) if threads is None else threads
    if not 1 <= count <= 64:
        raise ValueError(f"threads: {count}, which is not between 1 and 64")
    with open(path, "rb") as file, _reading(os.fspath(path)):
        return Model(_Loader(_Archive(file), os.fspath(path), target, digest), count)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Whatever goes wrong inside is the file's fault."""
    try:
        yield
    except SlimError as error:
        raise SlimError(f"{path}: {error}") from None
    except (
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
        RecursionError,
        MemoryError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:
        raise SlimError(f"{path}: damaged ({type(error).__name__}: {error})") from error


def _refuse(reason: str) -> NoReturn:
    raise SlimError(reason)


# --- the archive -------------------------------------------------------------------------------------------------


class _Archive:
    """The members of a file, by name, as parts of its memory. Each is checked against its hash when it is asked for."""

    _LOCAL = struct.Struct("<4s5H3I2H")  # what stands before a member: signature, ..., flags, method, ..., sizes, lengths

    def __init__(self, file: Any) -> None:
        size = os.fstat(file.fileno()).st_size
        if not size:
            _refuse("the file is empty")
        self.memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        with zipfile.ZipFile(file) as archive:
            entries, comment = archive.infolist(), archive.comment
        self.places: dict[str, tuple[int, int]] = {}
        for entry in entries:
            if entry.filename in self.places:
                _refuse(f"two members are called {entry.filename!r}")
            self.places[entry.filename] = self._place(entry), entry.file_size
        end = 0
        for start, length in sorted(self.places.values()):
            if start < end or start + length > size:
                _refuse("members overlap, or lie outside of the file")
            end = start + length
        if len(comment) != len(COMMENT) + 64 or not comment.startswith(COMMENT):
            _refuse(f"no model of version {VERSION} of this format")
        self.digest = comment[len(COMMENT) :].decode("ascii")
        self.hashes = {"manifest.json": self.digest}
        self.manifest = self.json("manifest.json")
        self.hashes |= self.manifest["members"]
        if sorted(self.hashes) != sorted(self.places):
            _refuse("the members are not those of the manifest")

    def _place(self, entry: zipfile.ZipInfo) -> int:
        """Where a member's bytes begin; what stands before them must say the same of it as the directory."""
        head = self.memory[entry.header_offset : entry.header_offset + self._LOCAL.size]
        signature, _, flags, method, _, _, crc, packed, size, name, extra = self._LOCAL.unpack(head)
        start = entry.header_offset + self._LOCAL.size
        if signature != b"PK\3\4" or flags & ~0x800 or method or entry.compress_type or entry.compress_size != entry.file_size:
            _refuse(f"{entry.filename!r} is not stored as it is")
        if bytes(self.memory[start : start + name]) != entry.orig_filename.encode() or crc != entry.CRC:
            _refuse(f"{entry.filename!r} is not what the directory says")
        if (packed, size) != (entry.file_size,) * 2 and (packed, size) != (0xFFFFFFFF,) * 2:  # the latter where it is large
            _refuse(f"{entry.filename!r} is not as long as the directory says")
        return start + name + extra

    def read(self, name: str) -> memoryview:
        """The bytes of a member."""
        if name not in self.places:
            _refuse(f"{name} is missing")
        start, size = self.places[name]
        content = self.memory[start : start + size]
        if sha256(content).hexdigest() != self.hashes[name]:
            _refuse(f"{name} is damaged: its SHA-256 is not what it was")
        return content

    def json(self, name: str) -> Any:
        return json.loads(bytes(self.read(name)).decode())


# --- from the file to what runs ----------------------------------------------------------------------------------

_DTYPES = {name: np.dtype(name) for name in ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")}
_SIZES = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
"""Bytes of an element, by safetensors' names of dtypes."""
_NUMBER, _CODE, _ARENA, _FAULTS, _NUMBERS, _FIRST = range(6)
"""What an argument of a kernel is relative to: nothing, and memory of various sorts; inputs, results and weights follow."""
_REFUSALS: dict[str, tuple[type[Exception], str]] = {
    "index": (IndexError, "an index is out of range"),
    "value": (ValueError, "a value that it refuses (a division by 0, a probability or a class out of range)"),
}
"""What kernels refuse to go on with."""


def _count(x: Any, most: int = 1 << 48) -> int:
    """``x``, which must be a size."""
    return x if type(x) is int and 0 <= x <= most else _refuse(f"{str(x)[:40]!r} is no size")


def _shape(sizes: Any, of: Array | None = None) -> tuple[int, ...]:
    """A shape; one that an array may have."""
    shape = tuple([_count(n) for n in sizes])
    if of is not None and (len(shape) != len(of.shape) or any(n not in (None, m) for n, m in zip(of.shape, shape))):
        _refuse(f"{of} cannot be of shape {shape}")
    return shape


def _array(entry: Any) -> Array:
    name, sizes = entry["name"], [None if n is None else _count(n) for n in entry["shape"]]
    return Array(name if type(name) is str else _refuse(f"{name!r} is no name"), _DTYPES[entry["dtype"]], tuple(sizes))


class _Loader:
    """Makes plans of an archive, and trusts nothing that it says."""

    def __init__(self, archive: _Archive, path: str, target: str | None, digest: str | None) -> None:
        self.archive, self.path = archive, path
        manifest = archive.manifest
        if digest is not None and digest != archive.digest:
            _refuse(f"its digest is {archive.digest}, and not the one that is expected")
        if (manifest["format"], manifest["version"]) != (FORMAT, VERSION):
            _refuse(f"it is of another version than {VERSION} of this format")
        self.inputs, self.outputs = [_array(x) for x in manifest["inputs"]], [_array(x) for x in manifest["outputs"]]
        self.nest = _checked(manifest["nest"], len(self.outputs))
        self.shapes = []
        for entry in manifest["plans"]:
            given, made = entry["inputs"], entry["outputs"]
            inputs = tuple([_shape(n, x) for n, x in zip(given, self.inputs, strict=True)])
            self.shapes.append((inputs, [_shape(n, x) for n, x in zip(made, self.outputs, strict=True)]))
        self.places = {inputs: k for k, (inputs, _) in enumerate(self.shapes)}
        self.target = _chosen(manifest["targets"], target)
        weights = _weights(archive)
        self.weights = [weights[name] for name in manifest["weights"]]
        self.code = _Code(archive.read(self._member("code.bin")), archive.json(self._member("code.json")))
        self.arena = _aligned(0)

    def _member(self, name: str) -> str:
        return f"targets/{self.target}/{name}"

    def plan(self, place: int) -> _Plan:
        """The plan for arguments of the shapes of that place."""
        entry, code, (inputs, results) = self.archive.json(self._member(f"plan-{place}.json")), self.code, self.shapes[place]
        outputs = [(_shape(shape), _DTYPES[dtype]) for shape, dtype in entry["outputs"]]
        picked = [_count(k) for k in entry["results"]]
        if [outputs[k] for k in picked] != [(shape, x.dtype) for shape, x in zip(results, self.outputs)]:
            _refuse("a plan's results are not those of the manifest")
        passed = [(shape, x.dtype) for shape, x in zip(inputs, self.inputs)] + outputs
        faults, numbers, arena = (
            np.zeros(_count(entry["faults"], 1 << 20), np.int64),
            np.array(entry["numbers"], np.int64),
            self.arena,
        )
        if arena.nbytes < _count(entry["arena"]):  # plans share it, for they run one at a time; those that have it keep theirs
            arena = self.arena = _aligned(entry["arena"])
        own = [arena, faults, numbers]
        sizes = [0, code.size, *(x.nbytes for x in own), *(_bytes(*x) for x in passed), *(x.nbytes for x in self.weights)]
        bases = np.array([0, code.address, *map(_address, own), *(0 for _ in passed), *map(_address, self.weights)], np.int64)
        sources = np.array([_count(s, len(sizes) - 1) for s in entry["sources"]], np.intp)
        offsets = np.array([self._offset(s, x, sizes) for s, x in zip(entry["sources"], entry["offsets"], strict=True)], np.int64)
        starts = [_count(s, len(sources)) for s in entry["starts"]]
        kernels = [code.function(name) for name in entry["kernels"]]
        calls = [(_count(count), refusal and (_REFUSALS[refusal[0]], str(refusal[1]))) for count, refusal in entry["calls"]]
        if len(starts) != len(kernels) or sum(count for count, _ in calls) != len(kernels):
            _refuse("a plan runs other kernels than it has")
        arguments, table = np.zeros(len(sources), np.int64), np.zeros((len(kernels), 2), np.int64)
        table[:, 0], table[:, 1] = kernels, arguments.ctypes.data + 8 * np.array(starts, np.int64)
        return _Plan(bases, sources, offsets, arguments, table, calls, faults, outputs, picked, (arena, numbers))

    def _offset(self, source: int, offset: Any, sizes: list[int]) -> int:
        """What is added to the beginning of a source: a place inside of it, or a function of the code."""
        if source == _CODE:
            return self.code.function(offset) - self.code.address
        if source == _NUMBER:
            return offset if type(offset) is int and -1 << 63 <= offset < 1 << 63 else _refuse("a word that is none")
        return _count(offset, sizes[source])


def _weights(archive: _Archive) -> dict[str, memoryview]:
    """The bytes of each weight."""
    content = archive.read("weights.safetensors")
    length = int.from_bytes(content[:8], "little")
    header = json.loads(bytes(content[8 : 8 + _count(length, len(content) - 8)]).decode())
    header.pop("__metadata__", None)
    data, found, end = content[8 + length :], {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, stop = entry["data_offsets"]
        if start != end or stop - start != math.prod(_shape(entry["shape"])) * _SIZES[entry["dtype"]] or stop > len(data):
            _refuse(f"the weight {name!r} does not lie where it should")
        found[name], end = data[start:stop], stop
    if end != len(data):
        _refuse("there is more than the weights behind them")
    return found


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return _count(math.prod(shape) * dtype.itemsize)


def _address(memory: np.ndarray | memoryview) -> int:
    """Where memory begins."""
    return np.frombuffer(memory, np.uint8).ctypes.data if memory.nbytes else 0


def _aligned(size: int) -> np.ndarray:
    """So many bytes of memory, from a cache line on."""
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


def _checked(nest: Any, results: int) -> Any:
    """How results are nested, with no places but those that there are."""
    if type(nest) is int:
        return _count(nest, results - 1)
    if isinstance(nest, list):
        return [_checked(part, results) for part in nest]
    ((kind, parts),) = nest.items()
    if kind == "tuple":
        return {kind: [_checked(part, results) for part in parts]}
    if kind == "dict":
        return {kind: [[str(key), _checked(part, results)] for key, part in parts]}
    return nest if kind == "value" else _refuse(f"results in a {kind!r}")


# --- machines ----------------------------------------------------------------------------------------------------

_LEVELS = {
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
    "x86-64-v3": "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
    "x86-64-v2": "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
}
"""What a CPU must have for a level, besides what the lower ones ask for; as Linux names it."""


def targets() -> list[str]:
    """The targets whose code runs here, the best first."""
    machine = platform.machine().lower()
    if sys.platform != "linux" or struct.calcsize("P") != 8:
        return []
    if machine in ("aarch64", "arm64"):
        return ["aarch64"]
    if machine not in ("x86_64", "amd64"):
        return []
    with open("/proc/cpuinfo") as file:
        flags = re.search(r"^flags\s*:(.*)$", file.read(), re.MULTILINE)
    have = set(flags[1].split()) if flags else set()
    found: list[str] = []
    for level in reversed(_LEVELS):
        if not have.issuperset(_LEVELS[level].split()):
            break
        found.insert(0, level)
    return found


def _chosen(there: list[str], wanted: str | None) -> str:
    """The target to take, of those for which there is code."""
    runnable = targets()
    usable = [name for name in runnable if name in there and wanted in (None, name)]
    if not usable:
        what = f"asks for {wanted}" if wanted else f"has code for {', '.join(map(str, there))}"
        _refuse(
            f"it {what}; this machine ({platform.machine()}, {sys.platform}) runs {', '.join(runnable) or 'none of the targets'}"
        )
    return usable[0]


_FUNCTIONS = frozenset(
    "malloc free memcpy memmove memset pthread_create pthread_join pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock pthread_cond_init "
    "pthread_cond_wait pthread_cond_broadcast sched_yield sched_getcpu sched_getaffinity sched_setaffinity "
    "fmod fmodf sin cos tan".split()
)
"""What code may call of the C library, the part for mathematics included."""
_READ, _WRITE, _EXECUTE = 1, 2, 4
_RIGHTS = {"rx": _READ | _EXECUTE, "r": _READ, "rw": _READ | _WRITE}


class _Code:
    """Machine code in memory: the bytes in their places, addresses filled in, then made executable and no longer writable."""

    def __init__(self, content: memoryview, layout: dict) -> None:
        parts = [(_count(start), _count(size), _RIGHTS[rights]) for start, size, rights in layout["parts"]]
        end = taken = 0
        for start, size, _ in parts:
            if start % PAGE or start < end or not size:
                _refuse("parts of the code overlap")
            end, taken = start + size, taken + size
        if taken != len(content) or end > 1 << 30:
            _refuse("the code is not as long as its parts")
        self.size = -(-end // PAGE) * PAGE
        self.memory = mmap.mmap(-1, self.size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, _READ | _WRITE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        taken = 0
        for start, size, _ in parts:
            self.memory[start : start + size] = content[taken : taken + size]
            taken += size
        library = ctypes.CDLL(None)
        if type(layout["moved"]) is not list:
            _refuse("the code does not say which of its words are addresses")
        for place in layout["moved"]:
            self._fill(place, self.address + _count(self._word(place), end))
        for name, places in layout["imports"].items():
            if name not in _FUNCTIONS:
                _refuse(f"the code calls {name!r}")
            for place in places:
                self._fill(place, _address_of(library, name))
        self.executable = [(start, start + size) for start, size, rights in parts if rights & _EXECUTE]
        self.symbols: dict[str, int] = layout["symbols"]
        library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for (start, _, rights), stop in zip(parts, [*(p[0] for p in parts[1:]), self.size], strict=True):
            if library.mprotect(self.address + start, stop - start, rights):
                _refuse("the system does not let code run that was not there when the program began")
        for name in self.symbols:
            self.function(name)
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self.function("flambeau_run"))

    def _word(self, place: Any) -> int:
        return int.from_bytes(self.memory[_count(place, self.size - 8) : place + 8], "little")

    def _fill(self, place: Any, address: int) -> None:
        self.memory[_count(place, self.size - 8) : place + 8] = address.to_bytes(8, "little")

    def function(self, name: str) -> int:
        """The address of a function."""
        at = _count(self.symbols[name])
        if not any(start <= at < stop for start, stop in self.executable):
            _refuse(f"{name} is no code")
        return self.address + at

    def start(self, owner: object, threads: int) -> None:
        """Lets so many threads compute as long as there is ``owner``."""
        if threads == 1 or "flambeau_threads_reset" not in self.symbols:  # what is too little to be divided
            return
        nothing, number = ctypes.CFUNCTYPE(None), ctypes.CFUNCTYPE(None, ctypes.c_int64)
        reset, stop = nothing(self.function("flambeau_threads_reset")), nothing(self.function("flambeau_threads_stop"))
        reset()
        number(self.function("flambeau_threads_limit"))(threads - 1)
        there = weakref.finalize(owner, stop)  # before its memory goes, or the program ends
        os.register_at_fork(after_in_child=lambda: reset() if there.alive else None)


def _address_of(library: ctypes.CDLL, name: str) -> int:
    """Where a function of the C library is; those of mathematics may be in a file of their own, which a Python need not have
    loaded."""
    if not hasattr(library, name):
        library = ctypes.CDLL("libm.so.6")
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


# --- running -----------------------------------------------------------------------------------------------------


class _Plan(NamedTuple):
    """A plan in memory.

    Each argument of a kernel is the beginning of a source, one of ``bases``, and an offset. ``table`` has the address of each
    kernel and of its arguments; ``calls`` how many of them run before somebody looks whether one has refused its values.
    ``results`` are those of the ``outputs`` that kernels make which the model returns. ``kept`` is memory that kernels use.
    """

    bases: np.ndarray
    sources: np.ndarray
    offsets: np.ndarray
    arguments: np.ndarray
    table: np.ndarray
    calls: list[tuple[int, Any]]
    faults: np.ndarray
    outputs: list[tuple[tuple[int, ...], np.dtype]]
    results: list[int]
    kept: tuple

    def run(self, given: list[np.ndarray], code: _Code) -> list[np.ndarray]:
        """The results for arrays that are as they must be."""
        made = [np.empty(shape, dtype) for shape, dtype in self.outputs]
        for k, array in enumerate([*given, *made], _FIRST):
            self.bases[k] = array.ctypes.data
        np.add(self.bases[self.sources], self.offsets, out=self.arguments)
        first = 0
        for count, refusal in self.calls:
            code.run(self.table.ctypes.data + 16 * first, count)
            first += count
            if refusal is not None and 1 in self.faults:
                self.faults[:] = 0
                (error, what), op = refusal
                raise error(f"{op}: {what}")
        return [made[k] for k in self.results]


class Model:
    """A model: call it with an array for each of its ``inputs``, in their order or by name.

    ``inputs``, ``outputs``   names, dtypes and shapes
    ``sizes``                 the shapes of the inputs for which there are plans
    ``target``                the kind of machine that its code is for
    ``digest``                what :func:`load` can be told to expect

    Results are new arrays, nested as the model that was exported nests its tensors. Threads may call it; they take turns. An index
    out of range is an ``IndexError``, another value that an op refuses a ``ValueError``.
    """

    def __init__(self, loader: _Loader, threads: int) -> None:
        self.inputs, self.outputs, self.target, self.digest = loader.inputs, loader.outputs, loader.target, loader.archive.digest
        self.sizes = list(loader.places)
        self._loader, self._plans = loader, {0: loader.plan(0)}
        self._lock = threading.Lock()
        loader.code.start(self, threads)

    def __repr__(self) -> str:
        inputs, outputs = (", ".join(map(str, arrays)) for arrays in (self.inputs, self.outputs))
        return f"<slim model ({inputs}) -> ({outputs}), {self.target}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = self._given(args, kwargs)
        place = self._loader.places.get(tuple([x.shape for x in given]))
        if place is None:
            raise ValueError(
                f"there is no plan for arguments of the shapes {', '.join(str(x.shape) for x in given)}: .sizes has those that there are"
            )
        with self._lock:
            plan = self._plans.get(place)
            if plan is None:
                with _reading(self._loader.path):
                    plan = self._plans[place] = self._loader.plan(place)
            results = plan.run(given, self._loader.code)
        return _nested(self._loader.nest, results)

    def _given(self, args: tuple, kwargs: dict[str, Any]) -> list[np.ndarray]:
        """The arguments as arrays that kernels can read."""
        names = [x.name for x in self.inputs]
        values = dict(zip(names, args))
        twice, unknown = values.keys() & kwargs, kwargs.keys() - set(names)
        values |= kwargs
        if len(args) > len(names) or twice or unknown or len(values) < len(names):
            raise TypeError(
                f"the model takes {len(names)} arrays ({', '.join(names)}); it was given {len(args)}, and {', '.join(kwargs) or 'none'} by name"
            )
        found = []
        for x in self.inputs:
            value = values[x.name]
            array = value if isinstance(value, np.ndarray) else np.asarray(value, None if hasattr(value, "dtype") else x.dtype)
            if (
                array.dtype != x.dtype
                or array.ndim != len(x.shape)
                or any(n not in (None, m) for n, m in zip(x.shape, array.shape))
            ):
                raise ValueError(f"expected {x}, got {array.dtype} of shape {array.shape}")
            found.append(np.require(array, x.dtype, ["C", "A"]))
        return found


def _nested(nest: Any, arrays: list[np.ndarray]) -> Any:
    """The results as the model nests them."""
    if isinstance(nest, int):
        return arrays[nest]
    if isinstance(nest, list):
        return [_nested(part, arrays) for part in nest]
    if "tuple" in nest:
        return tuple([_nested(part, arrays) for part in nest["tuple"]])
    return {key: _nested(part, arrays) for key, part in nest["dict"]} if "dict" in nest else nest["value"]
