"""From LLVM IR to addresses: one session of LLVM, the machine it compiles for, and the cache of machine code.

A :class:`Session` compiles for one :class:`Machine`. The process has one, for the CPU that it runs on or for the one
that ``FLAMBEAU_CPU`` names (``avx512``, ``avx2``, ``generic``); tests make others.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from hashlib import sha256
from typing import NamedTuple

import llvmlite
import llvmlite.binding as llvm

from flambeau.core.errors import raise_first
from flambeau.engine.cpu.cache import Cache
from flambeau.version import release


class Machine(NamedTuple):
    """What the code generators must know of a CPU."""

    cpu: str  # LLVM's name
    features: str  # LLVM's list of features, "+fma,-avx512f,..."
    vector_bytes: int  # width of a vector register
    registers: int  # how many of them
    fma: bool  # fused multiply-add
    half: bool  # conversions between float16 and float32


LEVELS = {
    "avx512": Machine("x86-64-v4", "", 64, 32, True, True),
    "avx2": Machine("x86-64-v3", "", 32, 16, True, True),
    "generic": Machine("x86-64-v2", "", 16, 16, False, False),
}
"""Machines that can be asked for by name."""


def _host() -> Machine:
    features = llvm.get_host_cpu_features()
    cpu, names = llvm.get_host_cpu_name(), features.flatten()
    if all(features.get(f) for f in ("avx512f", "avx512bw", "avx512dq", "avx512vl")):
        return Machine(cpu, names, 64, 32, True, True)
    fma, half = bool(features.get("fma")), bool(features.get("f16c"))
    if features.get("avx2"):
        return Machine(cpu, names, 32, 16, fma, half)
    if features.get("neon"):
        return Machine(cpu, names, 16, 32, True, True)
    return Machine(cpu, names, 16, 16, fma, half)


def machine(name: str = "") -> Machine:
    """The machine called ``name``; that of this process for ``""``. ``ValueError`` where its code would not run."""
    host = _host()
    if not name:
        return host
    known = LEVELS if llvm.get_process_triple().startswith("x86_64") else {}
    runs = [n for n, m in known.items() if m.vector_bytes <= host.vector_bytes and m.fma <= host.fma]
    if name not in runs:
        raise ValueError(f"FLAMBEAU_CPU: {name!r} is no level of this CPU; it has {', '.join(runs) or 'none'}")
    return LEVELS[name]


class Stats:
    """What compiling has cost so far."""

    def __init__(self) -> None:
        self.compiled = 0  # modules that LLVM compiled
        self.compile_ms = 0.0  # time that took
        self.loaded = 0  # modules whose machine code was in the cache
        self.load_ms = 0.0
        self.bytes = 0  # of machine code, with all that belongs to it


class Session:
    """LLVM, set up for one machine. Machine code lives as long as the process."""

    def __init__(self, machine: Machine, disk: Cache | None = None) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.machine = machine
        self.disk = disk
        self.stats = Stats()
        self._lock = threading.Lock()
        triple = llvm.get_process_triple()
        # The large code model: constants may lie anywhere, far from the code once a program has mapped much memory.
        # (On other machines llvmlite keeps the two together.)
        reloc, model = ("static", "large") if triple.startswith("x86_64") else ("pic", "default")
        target = llvm.Target.from_triple(triple)
        self._target = target.create_target_machine(machine.cpu, machine.features, opt=2, reloc=reloc, codemodel=model)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), self._target)
        self._salt = "\n".join(
            [repr(machine), reloc, model, "nounwind", llvmlite.__version__, str(llvm.llvm_version_info), release, ""]
        )
        self.memo: dict = {}  # addresses of what has been made, by whatever its maker finds it by

    def compile_ir(self, ir: str, name: str) -> int:
        """The address of the function ``name`` of the module ``ir``; the name must be new to the session."""
        with self._lock:
            key = sha256((self._salt + ir).encode()).hexdigest()
            start = time.perf_counter()
            code = self.disk.load(key) if self.disk is not None else None
            if code is None or not _is_object(code):
                code = undisturbed(lambda: self._object_code(ir))
                if self.disk is not None:
                    self.disk.store(key, code)
                self.stats.compiled += 1
                self.stats.compile_ms += (time.perf_counter() - start) * 1e3
                start = time.perf_counter()
            else:
                self.stats.loaded += 1
            self.stats.bytes += len(code)
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
            self._engine.finalize_object()
            address = self._engine.get_function_address(name)
            self.stats.load_ms += (time.perf_counter() - start) * 1e3
        if not address:
            raise RuntimeError(f"the compiled module does not define {name}")
        return address

    def _object_code(self, ir: str) -> bytes:
        module = llvm.parse_assembly(ir)
        for function in module.functions:  # tables for unwinding would refer to code by 32 bits, and nothing unwinds
            function.add_function_attribute("nounwind")
        code: bytes = self._target.emit_object(module)
        return code

    def address(self, name: str) -> int:
        """The address of another function of a module that has been compiled."""
        address: int = self._engine.get_function_address(name)
        return address

    def symbol(self, name: str) -> int:
        """The address of a function that has been made known to all modules."""
        address: int = llvm.address_of_symbol(name)
        return address

    def assembly(self, ir: str) -> str:
        """The machine code of ``ir`` in readable form."""
        return self._target.emit_assembly(llvm.parse_assembly(ir))


def undisturbed(work: Callable[[], bytes]) -> bytes:
    """``work()``, in another thread where this is the main one, in which signal handlers run.

    One that raises in the middle of llvmlite lets it free memory twice. Here it ends the waiting.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[bytes] = []
    errors: list[BaseException] = []
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.release()

    # Not as a Thread, which an exception in the middle of its start leaves half known to Python.
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # there can be no more threads
        return work()
    done.acquire()
    raise_first(errors)
    return results[0]


def _is_object(code: bytes) -> bool:
    """Whether LLVM may be given ``code``, which it reads without looking: all of an object file. (Only ELF is known here.)"""
    if llvm.get_object_format() != "ELF":
        return True
    try:
        magic, bits, kind, sections, each, count = _ELF.unpack_from(code)
    except struct.error:
        return False
    whole: bool = sections + each * count == len(code)  # the table of the sections stands at the end
    return (magic, bits, kind) == (b"\x7fELF", 2, 1) and whole


_ELF = struct.Struct("=4sB11xH22xQ10xHH2x")  # of 64 bits, relocatable: the table of sections, an entry's size, their number


@cache
def _own_session() -> Session:
    return Session(machine(os.environ.get("FLAMBEAU_CPU", "")), Cache.default())


_other: ContextVar[Session | None] = ContextVar("other session", default=None)


def session() -> Session:
    """The session of this process; inside of :func:`compiling_for`, the one that is given there."""
    return _other.get() or _own_session()


@contextmanager
def compiling_for(other: Session) -> Iterator[None]:
    """Kernels are made by ``other``, for its machine; in this thread, and what runs this process's own kernels is there already."""
    driver(), addresser()
    token = _other.set(other)
    try:
        yield
    finally:
        _other.reset(token)


RUN = """
define void @flambeau_run(ptr %calls, i64 %count) {
entry:
  %end = getelementptr [2 x ptr], ptr %calls, i64 %count
  br label %head
head:
  %call = phi ptr [ %calls, %entry ], [ %next, %body ]
  %done = icmp eq ptr %call, %end
  br i1 %done, label %exit, label %body
body:
  %fn = load ptr, ptr %call
  %place = getelementptr ptr, ptr %call, i64 1
  %args = load ptr, ptr %place
  call void %fn(ptr %args)
  %next = getelementptr [2 x ptr], ptr %call, i64 1
  br label %head
exit:
  ret void
}
"""

_DRIVE = """
declare void @flambeau_run(ptr, i64)
CLOCK_DECLARATION

; Goes on with the calls of %state = {calls, how many have been made} until %count have, or some time has passed.
define void @flambeau_drive(ptr %state, i64 %count) {
entry:
  %calls = load ptr, ptr %state
  %done = getelementptr i64, ptr %state, i64 1
  %first = load i64, ptr %done
  %begin = CLOCK
  br label %head
head:
  %i = phi i64 [ %first, %entry ], [ %i1, %body ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %exit
body:
  %call = getelementptr [2 x ptr], ptr %calls, i64 %i
  call void @flambeau_run(ptr %call, i64 1)
  %i1 = add i64 %i, 1
  store i64 %i1, ptr %done
  %now = CLOCK
  %spent = sub i64 %now, %begin
  %long = icmp ugt i64 %spent, SLICE
  br i1 %long, label %exit, label %head
exit:
  ret void
}
"""

_METHOD = """
declare void @NAME(ptr, i64)
declare ptr @PyLong_AsVoidPtr(ptr)
declare i64 @PyLong_AsSsize_t(ptr)
declare ptr @PyErr_Occurred()
declare i32 @PyErr_BadArgument()
declare void @Py_IncRef(ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)

; A method of Python's (METH_FASTCALL) bound to None, which it returns.
define ptr @NAME_method(ptr %none, ptr %arguments, i64 %number) {
entry:
  %two = icmp eq i64 %number, 2
  br i1 %two, label %read, label %wrong
wrong:
  call i32 @PyErr_BadArgument()
  ret ptr null
read:
  %first = load ptr, ptr %arguments
  %address = call ptr @PyLong_AsVoidPtr(ptr %first)
  %place2 = getelementptr ptr, ptr %arguments, i64 1
  %second = load ptr, ptr %place2
  %count = call i64 @PyLong_AsSsize_t(ptr %second)
  %error = call ptr @PyErr_Occurred()
  %ok = icmp eq ptr %error, null
  br i1 %ok, label %start, label %failed
failed:
  ret ptr null
start:
  %thread = call ptr @PyEval_SaveThread()
  call void @NAME(ptr %address, i64 %count)
  call void @PyEval_RestoreThread(ptr %thread)
  call void @Py_IncRef(ptr %none)
  ret ptr %none
}
"""


_LAUNCH = """
declare void @flambeau_run(ptr, i64)
declare ptr @PyLong_AsVoidPtr(ptr)
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyErr_Occurred()
declare void @Py_IncRef(ptr)

define ptr @flambeau_launch(ptr %none, ptr %arguments, i64 %number) {
entry:
  %first = load ptr, ptr %arguments
  %code = call ptr @PyLong_AsVoidPtr(ptr %first)
  %calls = load ptr, ptr %code
  %place1 = getelementptr i64, ptr %code, i64 1
  %count = load i64, ptr %place1
  %place2 = getelementptr i64, ptr %code, i64 2
  %entries = load i64, ptr %place2
  %place3 = getelementptr i64, ptr %code, i64 3
  %arrays = load ptr, ptr %place3
  %begin = getelementptr i64, ptr %code, i64 4
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %i1, %next ]
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i, %entries
  br i1 %more, label %body, label %done
body:
  %line = getelementptr [4 x i64], ptr %begin, i64 %i
  %sort = load i64, ptr %line
  %line1 = getelementptr i64, ptr %line, i64 1
  %which = load i64, ptr %line1
  %line2 = getelementptr i64, ptr %line, i64 2
  %to = load ptr, ptr %line2
  %line3 = getelementptr i64, ptr %line, i64 3
  %offset = load i64, ptr %line3
  %given = getelementptr ptr, ptr %arguments, i64 %which
  %object = load ptr, ptr %given
  switch i64 %sort, label %array [ i64 1, label %real i64 2, label %integer ]
array:
  %place = getelementptr i8, ptr %object, i64 TYPE
  %type = load ptr, ptr %place
  %fits = icmp eq ptr %type, %arrays
  br i1 %fits, label %address, label %wrong
address:
  %field = getelementptr i8, ptr %object, i64 DATA
  %data = load ptr, ptr %field
  %element = getelementptr i8, ptr %data, i64 %offset
  store ptr %element, ptr %to
  br label %next
real:
  %x = call double @PyFloat_AsDouble(ptr %object)
  store double %x, ptr %to
  br label %next
integer:
  %n = call i64 @PyLong_AsLongLong(ptr %object)
  store i64 %n, ptr %to
  br label %next
next:
  br label %head
wrong:
  call void @Py_IncRef(ptr %first)
  ret ptr %first
done:
  %error = call ptr @PyErr_Occurred()
  %ok = icmp eq ptr %error, null
  br i1 %ok, label %run, label %failed
failed:
  ret ptr null
run:
  call void @flambeau_run(ptr %calls, i64 %count)
  call void @Py_IncRef(ptr %none)
  ret ptr %none
}
"""


_ADDRESS = """
declare ptr @PyLong_FromVoidPtr(ptr)

define ptr @flambeau_address(ptr %none, ptr %arguments, i64 %number) {
  %array = load ptr, ptr %arguments
  %field = getelementptr i8, ptr %array, i64 DATA
  %data = load ptr, ptr %field
  %address = call ptr @PyLong_FromVoidPtr(ptr %data)
  ret ptr %address
}
"""


class _MethodDef(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("code", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


_METH_FASTCALL = 0x80


def method(name: str) -> Callable[[int, int], None]:
    """The native function ``name``, of an address and a number, as a function of Python that lets go of the GIL.

    It is a built-in function of Python's own kind: a call costs a fifth of one through ctypes.
    """
    return builtin(name, session().compile_ir(_METHOD.replace("NAME", name), f"{name}_method"))


def builtin(name: str, address: int) -> Callable:
    """The code at ``address``, of a method of Python's (METH_FASTCALL), as a built-in function that is bound to ``None``."""
    definition = _MethodDef(name.encode(), address, _METH_FASTCALL, None)
    keep_for_ever(definition)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.c_void_p]
    function: Callable = make(definition, None, None)
    return function


def keep_for_ever(x: object) -> None:
    """Lets the memory of ``x`` be there until the process is gone.

    The variables of modules go before, in no particular order, and native objects look at what they were made of as they go.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(x))


@cache
def driver() -> Callable[[int, int], None]:
    """``drive(state, count)``: calls kernels in order, without the GIL, until ``count`` have been called or a moment has passed.

    ``state`` is the address of two words: that of an array of pairs {address of the kernel, address of its arguments}, and
    how many of them have been called, which the driver counts on. It comes back before it is done so that Python can run
    signal handlers: between two kernels an interrupt takes effect, and the count says what is left to do.
    """
    llvm.add_symbol("flambeau_run", session().compile_ir(RUN, "flambeau_run"))
    llvm.add_symbol("flambeau_drive", session().compile_ir(with_clock(_DRIVE), "flambeau_drive"))
    return method("flambeau_drive")


@cache
def addresser() -> Callable:
    """``address_of(array)``: where the memory of an array begins; NumPy's own way takes ten times as long."""
    return builtin(
        "flambeau_address", session().compile_ir(_ADDRESS.replace("DATA", str(object.__basicsize__)), "flambeau_address")
    )


@cache
def launcher() -> Callable:
    """``launch(code, *arrays, *numbers)``: tells kernels where arrays are, calls them, and gives ``None``; with the GIL all the
    while.

    ``code`` is the address of words: that of pairs as for :func:`driver`, how many these are, how many entries follow, and that of
    the class of arrays. An entry is {sort, which argument, where to, offset in bytes}: the address of an array's memory (sort 0),
    or the value of a number, as a double (1) or an integer (2). Where what should be an array is none, nothing runs, and ``code``
    is given back.
    """
    driver()  # which makes what runs kernels known
    size = object.__basicsize__  # an object begins with its count and its class; of an array, the address of its memory follows
    ir = _LAUNCH.replace("TYPE", str(size - 8)).replace("DATA", str(size))
    return builtin("flambeau_launch", session().compile_ir(ir, "flambeau_launch"))


# By kind of CPU: a clock without a system call, and how far it goes in about 20 ms.
_CLOCKS = {"x86_64": ("llvm.readcyclecounter", 50_000_000), "aarch64": ("llvm.readsteadycounter", 500_000)}


def with_clock(ir: str, triple: str | None = None) -> str:
    """``ir`` with a clock for the word ``CLOCK``, and how far it goes in a moment for ``SLICE``; it stands where there is none.

    ``triple`` says for which machine, where it is not this one.
    """
    name, slice = _CLOCKS.get((triple or llvm.get_process_triple()).split("-")[0], ("", 1))
    ir = ir.replace("CLOCK_DECLARATION", f"declare i64 @{name}()" if name else "").replace("SLICE", str(slice))
    return ir.replace("CLOCK\n", f"call i64 @{name}()\n" if name else "add i64 0, 0\n")
