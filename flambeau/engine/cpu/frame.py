"""What kernels around register tiles are written with: addresses in bytes, counted loops, calls of shared parts."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

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


def define(code: Code, name: str, parameters: str) -> str:
    """The module that has ``code`` as its function ``name``."""
    head = f"define void @{name}({parameters}) nounwind {{"
    return "\n".join([*code.declarations.values(), head, "entry:", *code.allocations, *code.lines, "  ret void", "}", ""])


def shared(session: Session, name: str, parameters: str, write: Callable[[Code], None]) -> str:
    """A part that kernels call by ``name``, compiled into the session when it is first asked for."""
    if name not in session.memo:
        code = Code(session.machine)
        write(code)
        session.memo[name] = session.compile_ir(define(code, name, parameters), name)
    return name


def kernel(session: Session, prefix: str, what: object, code: Code) -> int:
    """The address of the kernel ``code``, named after ``what`` it computes."""
    name = f"flambeau_{prefix}_" + sha256(repr(what).encode()).hexdigest()[:24]
    return session.compile_ir(define(code, name, "ptr %args"), name)


class Frame:
    """A kernel under construction: loops and addresses over elements of one type."""

    def __init__(self, session: Session, kind: str) -> None:
        self.session = session
        self.code = Code(session.machine)
        self.kind = kind
        self.size = BITS[kind] // 8
        self.lanes = lanes_of(session, kind)

    def arguments(self, count: int) -> list[Value]:
        """The kernel's first arguments."""
        args = parameter(self.code, "args")
        return [args.offset(i, "ptr").load("ptr") for i in range(count)]

    def each(self, count: int, body: Callable[[Value | int], None]) -> None:
        """``body(i)`` for every ``i`` below ``count``."""
        if count == 1:
            body(0)
        elif count > 1:

            def step(i: Value, _: list[Value]) -> list[Value]:
                body(i)
                return []

            self.code.loop(self.code.index(0), self.code.index(count), 1, [], step)

    def go(self, pointer: Value, i: Value | int, stride: int) -> Value:
        """The address ``i * stride`` elements further on."""
        if isinstance(i, int):
            return bytes_on(pointer, i * stride * self.size)
        return bytes_on(pointer, i * (stride * self.size)) if stride else pointer

    def stack(self, size: int) -> Value:
        """That many bytes of stack memory."""
        return self.code.allocate("i8", max(size, 64))

    def set(self, job: Value, field: int, value: Value | int) -> None:
        """Writes a field of 8 bytes."""
        job.offset(field, "i64").store(value if isinstance(value, Value) else self.code.index(value))

    def perform(self, name: str, *args: Value | int) -> None:
        """Calls a shared part."""
        self.code.perform(name, [a if isinstance(a, Value) else self.code.index(a) for a in args])


def parts(total: int, size: int) -> list[tuple[int, int, int]]:
    """``total`` cut into parts: (where they start, how many there are, their size)."""
    full, rest = divmod(total, size)
    return [(0, full, size)] * (full > 0) + [(full * size, 1, rest)] * (rest > 0)


def evenly(total: int, most: int) -> int:
    """The size of parts that ``total`` is cut into evenly, at most ``most`` each."""
    return -(-total // -(-total // most)) if total else 1
