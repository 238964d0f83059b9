"""Loops to kernels: from the loop IR to a module of LLVM IR, and to an address."""

from __future__ import annotations

from hashlib import sha256

from flambeau.engine.cpu import threads
from flambeau.engine.cpu.compiler import Machine, Session, session
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.kernel import Finish, Kernel, Part
from flambeau.engine.cpu.schedule import Schedule
from flambeau.engine.loops import Loop, verify


def loop_kernel(loop: Loop, on: Session | None = None) -> int:
    """The address of ``void kernel(i8** args)`` for ``loop``, compiled if this session does not have it yet."""
    on = on or session()
    text = str(loop)
    address = on.memo.get(text)
    if address is None:
        verify(loop)
        name = "loop_" + sha256(text.encode()).hexdigest()[:24]
        ir = loop_ir(loop, on.machine, name)
        if threads.ENTRY in ir:
            threads.pool()
        address = on.memo[text] = on.compile_ir(ir, name)
    return address


def loop_ir(loop: Loop, machine: Machine, name: str) -> str:
    """The LLVM module whose function ``name`` is the kernel of ``loop``."""
    schedule = Schedule(loop, machine)
    if schedule.divided is None:
        kernel = Kernel(schedule)
        kernel.write()
        return _module([kernel.code], [_define(name, "ptr %args", kernel.code)])
    part = Part(schedule)
    part.write()
    codes = [part.code, Code(machine)]
    functions = [_define(f"{name}.part", "ptr %args, i64 %first, i64 %last", part.code, "internal ")]
    frame, args = codes[1], Value(codes[1], "%args", "ptr", 0)
    context = args
    if schedule.split:  # two pointers: the kernel's arguments, and the accumulators of all parts
        context = frame.allocate("ptr", 2)
        context.store(args)
        context.offset(1, "ptr").store(frame.allocate("i8", schedule.tasks * schedule.part_bytes()))
    frame.line(f"call void @{threads.ENTRY}(ptr @{name}.part, ptr {context.ref}, i64 {schedule.tasks})")
    if schedule.split:
        finish = Finish(schedule)
        finish.write()
        codes.append(finish.code)
        functions.append(_define(f"{name}.finish", "ptr %args", finish.code, "internal "))
        frame.line(f"call void @{name}.finish(ptr {context.ref})")
    frame.line("ret void")
    functions.append(_define(name, "ptr %args", frame))
    return _module(codes, [f"declare void @{threads.ENTRY}(ptr, ptr, i64)", *functions])


def _define(name: str, parameters: str, code: Code, linkage: str = "") -> str:
    body = "\n".join(code.allocations + code.lines)
    return f"define {linkage}void @{name}({parameters}) {{\nentry:\n{body}\n}}\n"


def _module(codes: list[Code], functions: list[str]) -> str:
    declarations: dict[str, str] = {}
    for code in codes:
        declarations |= code.declarations
    return "\n".join([*declarations.values(), *functions])
