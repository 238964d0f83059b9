"""What kernels around register tiles are written with: addresses in bytes, counted loops, calls of shared parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import BITS, Code, Value


def parameter(code: Code, name: str, kind: str = "ptr") -> Value:
    """A parameter of the function that is being written."""
    return Value(code, "%" + name, kind, 0)


def bytes_on(pointer: Value, offset: Value | int) -> Value:
    """The address ``offset`` bytes further on."""
    return pointer.offset(offset, "i8")


def lanes_of(session: Session, kind: str) -> int:
    """How many numbers of ``kind`` a vector register holds."""
    return session.machine.vector_bytes * 8 // BITS[kind]


class Function(NamedTuple):
    """A function of a module."""

    name: str
    parameters: str
    code: Code
    linkage: str = ""


def module(*functions: Function) -> str:
    """The text of a module."""
    declarations: dict[str, str] = {}
    lines = []
    for f in functions:
        declarations |= f.code.declarations
        lines += [f"define {f.linkage} void @{f.name}({f.parameters}) nounwind {{", "entry:"]
        lines += [*f.code.allocations, *f.code.lines, "  ret void", "}"]
    return "\n".join([*declarations.values(), *lines, ""])


def shared(session: Session, name: str, parameters: str, write: Callable[[Code], None]) -> str:
    """A part that kernels call by ``name``, compiled into the session when it is first asked for."""
    if name not in session.memo:
        code = Code(session.machine)
        write(code)
        session.memo[name] = session.compile_ir(module(Function(name, parameters, code)), name)
    return name


def symbol_address(session: Session, symbol: Callable[..., str], *chosen: Any) -> int:
    """The address of the part whose symbol ``symbol(session, *chosen)`` gives. It is kept, for symbols take long to write down."""
    key = symbol, *chosen
    address: int | None = session.memo.get(key)
    if address is None:
        address = session.memo[key] = session.memo[symbol(session, *chosen)]
    return address


def run_divided(code: Code, context: Value, tasks: Value, entry: Value) -> None:
    """Calls ``part(context, first, last)`` for all tasks, divided between threads by the function at ``entry``, if there is one
    (:func:`~flambeau.engine.cpu.threads.entry`)."""
    part, nobody = Value(code, "@part", "ptr", 0), entry.compare("eq", Value(code, "null", "ptr", 0))

    def alone() -> list[Value]:
        code.invoke(part, [context, code.index(0), tasks])
        return []

    def together() -> list[Value]:
        code.invoke(entry, [part, context, tasks])
        return []

    code.when(nobody, [], alone)
    code.when(~nobody, [], together)


def kernel(session: Session, prefix: str, what: object, code: Code, part: Code | None = None) -> int:
    """The address of the kernel ``code``, named after ``what`` it computes, with the ``part`` that it runs."""
    name = f"flambeau_{prefix}_" + sha256(repr(what).encode()).hexdigest()[:24]
    functions = [Function(name, "ptr %args", code)]
    if part is not None:
        functions.append(Function("part", "ptr %args, i64 %first, i64 %last", part, "internal"))
    return session.compile_ir(module(*functions), name)


REMEMBERED = 512
"""Specs of one sort whose words are kept."""

Made = tuple[int, tuple[int, ...]]
"""The address of a kernel, and the words that follow the pointers among its arguments."""


def remembered(session: Session, what: str, spec: Any, make: Callable[[Session, Any], Made]) -> Made:
    """What ``make(session, spec)`` gives, which describes a ``"product"`` or the like, and gave before for an equal one.

    Raises ``ValueError`` where there is no kernel.
    """
    known: dict[Any, Made] = session.memo.setdefault(f"{what}s", {})
    found = known.get(spec)
    if found is None:
        if not spec.supported():
            raise ValueError(f"no kernel for this {what}: {spec}")
        if len(known) >= REMEMBERED:
            known.clear()
        found = known[spec] = make(session, spec)
    return found


class Reader:
    """Numbers among the words behind a kernel's pointers, by name.

    They are read where they are needed: a load costs less than to keep one in a register. ``words`` is where they begin.
    """

    def __init__(self, words: Value, names: Sequence[str]) -> None:
        self.words = words
        self.names = names

    def __call__(self, name: str, kind: str = "i64") -> Value:
        return self.words.offset(self.names.index(name), "i64").load(kind)


class Frame:
    """A kernel under construction: loops and addresses over elements of one type."""

    def __init__(self, session: Session, kind: str, code: Code | None = None) -> None:
        self.session = session
        self.code = code or Code(session.machine)
        self.kind = kind
        self.size = BITS[kind] // 8
        self.lanes = lanes_of(session, kind)

    def arguments(self, count: int, args: Value | None = None) -> list[Value]:
        """The kernel's first arguments."""
        args = args or parameter(self.code, "args")
        return [args.offset(i, "ptr").load("ptr") for i in range(count)]

    def between(self, first: Value, last: Value, body: Callable[[Value], None]) -> None:
        """``body(i)`` for every ``i`` from ``first`` to before ``last``."""

        def step(i: Value, _: list[Value]) -> list[Value]:
            body(i)
            return []

        self.code.loop(first, last, 1, [], step)

    def times(self, count: Value, body: Callable[[Value], None]) -> None:
        """``body(i)`` for every ``i`` below ``count``."""
        self.between(self.code.index(0), count, body)

    def parts(self, total: Value, size: Value, body: Callable[[Value, Value, Value], None]) -> None:
        """``body(start, count, is_rest)`` for parts of ``size`` and the rest of ``total``."""

        def part(start: Value, _: list[Value]) -> list[Value]:
            count = (total - start).intrinsic("umin", size)
            body(start, count, count.compare("ult", size))
            return []

        self.code.loop(self.code.index(0), total, size, [], part)

    def clear(self, place: Value, size: Value) -> None:
        """Zeros, so many bytes."""
        zero, no = Value(self.code, "0", "i8", 0), Value(self.code, "false", "i1", 0)
        self.code.perform("llvm.memset.p0.i64", [place, zero, size, no])

    def when(self, condition: Value, body: Callable[[], None]) -> None:
        """``body()`` where the condition holds."""

        def then() -> list[Value]:
            body()
            return []

        self.code.when(condition, [], then)

    def stack(self, size: int) -> Value:
        """That many bytes of stack memory."""
        return self.code.allocate("i8", max(size, 64))

    def heap(self, size: Value) -> tuple[Value, Value]:
        """That many bytes, at the beginning of a cache line, and what to :meth:`release` when they are done with."""
        memory = self.code.call("malloc", [size + 64], "ptr", 0)
        place = self.code.new(f"ptrtoint ptr {memory.ref} to i64", "i64", 0) & 63
        return bytes_on(memory, 64 - place), memory

    def release(self, memory: Value) -> None:
        self.code.perform("free", [memory])

    def set(self, job: Value, field: int, value: Value | int) -> None:
        """Writes a field of 8 bytes."""
        job.offset(field, "i64").store(value if isinstance(value, Value) else self.code.index(value))

    def perform(self, name: str, *args: Value | int) -> None:
        """Calls a shared part."""
        self.code.perform(name, [a if isinstance(a, Value) else self.code.index(a) for a in args])


def evenly(total: int, most: int) -> int:
    """The size of parts that ``total`` is cut into evenly, at most ``most`` each."""
    return -(-total // -(-total // most)) if total else 1
