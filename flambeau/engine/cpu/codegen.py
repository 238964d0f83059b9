"""Loops to kernels: from the loop IR to a module of LLVM IR, and to an address."""

from __future__ import annotations

from hashlib import sha256

from flambeau.engine.cpu import threads
from flambeau.engine.cpu.compiler import Machine, Session, session
from flambeau.engine.cpu.division import Finish, Parts, Rows
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.kernel import Kernel
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
        return joined([kernel.code], [define(name, "ptr %args", kernel.code)])
    frame = Code(machine)
    args = Value(frame, "%args", "ptr", 0)
    parts = [Parts(schedule), Finish(schedule)] if schedule.split else [Rows(schedule)]
    for part in parts:
        part.write()
    if schedule.split:  # the parts get two pointers: the kernel's arguments, and memory for all accumulators
        both = frame.allocate("ptr", 2)
        both.store(args)
        accumulators = frame.call("malloc", [frame.index(schedule.tasks * schedule.part_bytes())], "ptr", 0)
        both.offset(1, "ptr").store(accumulators)
        args = both
    entry = threads.LIGHT_ENTRY if schedule.light else threads.ENTRY
    frame.line(f"call void @{entry}(ptr @{name}.part, ptr {args.ref}, i64 {schedule.tasks})")
    functions = [
        f"declare void @{entry}(ptr, ptr, i64)",
        define(f"{name}.part", "ptr %args, i64 %first, i64 %last", parts[0].code, "internal "),
    ]
    if schedule.split:
        frame.line(f"call void @{name}.finish(ptr {args.ref})")
        frame.perform("free", [accumulators])
        functions.append(define(f"{name}.finish", "ptr %args", parts[1].code, "internal "))
    frame.line("ret void")
    return joined([frame, *(part.code for part in parts)], [*functions, define(name, "ptr %args", frame)])


def define(name: str, parameters: str, code: Code, linkage: str = "") -> str:
    """The text of a function that returns nothing."""
    body = "\n".join(code.allocations + code.lines)
    return f"define {linkage}void @{name}({parameters}) {{\nentry:\n{body}\n}}\n"


def joined(codes: list[Code], functions: list[str]) -> str:
    """The text of a module."""
    declarations: dict[str, str] = {}
    for code in codes:
        declarations |= code.declarations
    return "\n".join([*declarations.values(), *functions])
