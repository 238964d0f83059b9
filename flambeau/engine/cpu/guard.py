"""A mode for tests in which memory ends where arrays end: ``FLAMBEAU_GUARD=1``.

Every NumPy array that the main thread makes then lies in pages of its own, between pages that nobody may touch. So do the
buffers of storages and the results of plans, which are such arrays, and each of a plan's intermediate values gets one instead
of its part of the arena. A kernel that reads or writes outside of what it was given ends the process at that very
instruction, and so does one that uses memory that has been given back. Arrays lie at the ends of their pages and at the
beginnings in turn. What is left of a page is looked at when the array goes, and memory that nobody has written to is full of
``0xFE``: large numbers of whatever dtype.

NumPy takes its memory from a *handler* of four functions (NEP 49). Here they are native code, so that they work whatever state
Python is in.
"""

from __future__ import annotations

import ctypes
import mmap

from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

from flambeau.engine.cpu.compiler import keep_for_ever, session

# {header page: total bytes, size}{no access}{the array's pages}{no access}
_IR = """
@turn = global i64 0
@message = constant [61 x i8] c"flambeau: something has written outside of an array's memory\\0A"

declare ptr @mmap(ptr, i64, i32, i32, i32, i64)
declare i32 @munmap(ptr, i64)
declare i32 @mprotect(ptr, i64, i32)
declare i64 @write(i32, ptr, i64)
declare void @abort()
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal ptr @taken(i64 %wanted, i1 %zeros) {
entry:
  %none = icmp eq i64 %wanted, 0
  %size = select i1 %none, i64 1, i64 %wanted
  %up = add i64 %size, PAGE_1
  %room = and i64 %up, -PAGE
  %total = add i64 %room, PAGE_3
  %base = call ptr @mmap(ptr null, i64 %total, i32 3, i32 MAP_FLAGS, i32 -1, i64 0)
  %address = ptrtoint ptr %base to i64
  %failed = icmp eq i64 %address, -1
  br i1 %failed, label %nothing, label %found
nothing:
  ret ptr null
found:
  store i64 %total, ptr %base
  %header = getelementptr i64, ptr %base, i64 1
  store i64 %size, ptr %header
  %before = getelementptr i8, ptr %base, i64 PAGE
  %first = getelementptr i8, ptr %base, i64 PAGE_2
  %after = getelementptr i8, ptr %first, i64 %room
  call i32 @mprotect(ptr %before, i64 PAGE, i32 0)
  call i32 @mprotect(ptr %after, i64 PAGE, i32 0)
  %left = sub i64 %room, %size
  %turn = atomicrmw add ptr @turn, i64 1 seq_cst
  %odd = trunc i64 %turn to i1
  %start = select i1 %odd, i64 0, i64 %left
  %place = getelementptr i8, ptr %first, i64 %start
  %end = getelementptr i8, ptr %place, i64 %size
  %rest = sub i64 %left, %start
  call void @llvm.memset.p0.i64(ptr %first, i8 -2, i64 %start, i1 false)
  call void @llvm.memset.p0.i64(ptr %end, i8 -2, i64 %rest, i1 false)
  %large = icmp ugt i64 %size, 67108864
  %as_is = or i1 %zeros, %large
  br i1 %as_is, label %done, label %fill
fill:
  call void @llvm.memset.p0.i64(ptr %place, i8 -2, i64 %size, i1 false)
  br label %done
done:
  ret ptr %place
}

define internal void @look(ptr %from, ptr %to) {
entry:
  br label %head
head:
  %at = phi ptr [ %from, %entry ], [ %next, %good ]
  %over = icmp eq ptr %at, %to
  br i1 %over, label %exit, label %body
body:
  %byte = load i8, ptr %at
  %whole = icmp eq i8 %byte, -2
  br i1 %whole, label %good, label %bad
good:
  %next = getelementptr i8, ptr %at, i64 1
  br label %head
bad:
  call i64 @write(i32 2, ptr @message, i64 61)
  call void @abort()
  unreachable
exit:
  ret void
}

define ptr @guard_malloc(ptr %context, i64 %size) {
  %place = call ptr @taken(i64 %size, i1 false)
  ret ptr %place
}

define ptr @guard_calloc(ptr %context, i64 %count, i64 %each) {
  %size = mul i64 %count, %each
  %place = call ptr @taken(i64 %size, i1 true)
  ret ptr %place
}

define void @guard_free(ptr %context, ptr %place, i64 %said) {
entry:
  %null = icmp eq ptr %place, null
  br i1 %null, label %exit, label %some
some:
  %address = ptrtoint ptr %place to i64
  %page = and i64 %address, -PAGE
  %first = inttoptr i64 %page to ptr
  %base = getelementptr i8, ptr %first, i64 -PAGE_2
  %total = load i64, ptr %base
  %header = getelementptr i64, ptr %base, i64 1
  %size = load i64, ptr %header
  %room = sub i64 %total, PAGE_3
  %end = getelementptr i8, ptr %place, i64 %size
  %after = getelementptr i8, ptr %first, i64 %room
  call void @look(ptr %first, ptr %place)
  call void @look(ptr %end, ptr %after)
  call i32 @munmap(ptr %base, i64 %total)
  br label %exit
exit:
  ret void
}

define ptr @guard_realloc(ptr %context, ptr %old, i64 %size) {
entry:
  %new = call ptr @taken(i64 %size, i1 false)
  %failed = icmp eq ptr %new, null
  %none = icmp eq ptr %old, null
  %alone = or i1 %failed, %none
  br i1 %alone, label %exit, label %move
move:
  %address = ptrtoint ptr %old to i64
  %page = and i64 %address, -PAGE
  %first = inttoptr i64 %page to ptr
  %header = getelementptr i8, ptr %first, i64 HEADER
  %had = load i64, ptr %header
  %less = icmp ult i64 %had, %size
  %count = select i1 %less, i64 %had, i64 %size
  call void @llvm.memcpy.p0.p0.i64(ptr %new, ptr %old, i64 %count, i1 false)
  call void @guard_free(ptr %context, ptr %old, i64 %had)
  br label %exit
exit:
  ret ptr %new
}
"""

_SET_HANDLER = 304  # its place in the table of NumPy's C interface
_NAME = b"mem_handler"  # of the capsules that it takes


class _Handler(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("context", ctypes.c_void_p)] + [
        (name, ctypes.c_void_p) for name in ("malloc", "calloc", "realloc", "free")
    ]  # type: ignore[assignment]


def install() -> None:
    """Has all arrays that this thread makes from now on lie beside pages that nobody may touch."""
    page = mmap.PAGESIZE
    numbers = {"PAGE_1": page - 1, "PAGE_2": 2 * page, "PAGE_3": 3 * page, "HEADER": 8 - 2 * page, "PAGE": page}
    ir = (
        _IR.replace("MAP_FLAGS", str(mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        .replace("-PAGE_2", str(-2 * page))
        .replace("-PAGE", str(-page))
    )
    for name, value in numbers.items():
        ir = ir.replace(name, str(value))
    on = session()
    malloc = on.compile_ir(ir, "guard_malloc")
    others = [on.address(f"guard_{name}") for name in ("calloc", "realloc", "free")]
    handler = _Handler(b"guard", 1, None, malloc, *others)
    new, pointer = ctypes.pythonapi.PyCapsule_New, ctypes.pythonapi.PyCapsule_GetPointer
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(_multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[_SET_HANDLER])
    capsule = new(ctypes.addressof(handler), _NAME, None)
    for x in (handler, _NAME, capsule, on):  # arrays refer to the handler as long as they live
        keep_for_ever(x)
    set_handler(capsule)
