"""Kernels that do one plane of rows and columns after the other: pools, resizing."""

from __future__ import annotations

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import BITS, Code, Value
from flambeau.engine.cpu.frame import Frame, kernel, parameter, run_part
from flambeau.engine.cpu.specs import KINDS

WORTH_DIVIDING = 1 << 18
"""Kernels that read this many elements are divided between threads."""


class Planes(Frame):
    """Writes ``part(args, first, last)``, which does some of the planes."""

    def __init__(self, session: Session, spec) -> None:
        super().__init__(session, KINDS[spec.dtype.name])
        self.spec = spec
        self.others: list[tuple[str, int]] = []  # kind, and numbers in a plane, of the arguments after the first
        self.work = 0  # elements that are read for a plane

    def write(self) -> None:
        code, spec = self.code, self.spec
        source, *others = self.arguments(1 + len(self.others))

        def plane(i: Value) -> None:
            image, channel = i.binary("udiv", spec.planes[1]), i.binary("urem", spec.planes[1])
            x = self.go(self.go(source, image, spec.strides[0]), channel, spec.strides[1])
            self.plane(x, *(p.offset(i * n, kind) for p, (kind, n) in zip(others, self.others, strict=True)))

        self.between(parameter(code, "first", "i64"), parameter(code, "last", "i64"), plane)

    def plane(self, x: Value, *others: Value) -> None:
        raise NotImplementedError

    def masked(self, pointer: Value, mask: Value, fill: float, stride: int = 1) -> Value:
        """Vectors from memory, with ``fill`` where the mask is not set: what lies there is not touched."""
        code, lanes, bits = self.code, mask.lanes, BITS[self.kind]
        name = f"llvm.masked.load.v{lanes}f{bits}.p0"
        if stride != 1:
            name = f"llvm.masked.gather.v{lanes}f{bits}.v{lanes}p0"
            pointer = pointer.offset(code.vector([k * stride for k in range(lanes)], "i64"), self.kind)
        args = [pointer, Value(code, str(self.size), "i32", 0), mask, code.const(fill, self.kind, lanes)]
        return code.call(name, args, self.kind, lanes)

    def kernel(self, prefix: str) -> int:
        """The address of the whole kernel."""
        spec, planes = self.spec, self.spec.planes[0] * self.spec.planes[1]
        self.write()
        outer = Code(self.session.machine)
        run_part(outer, parameter(outer, "args"), planes, divided=planes * self.work >= WORTH_DIVIDING and planes > 1)
        return kernel(self.session, prefix, spec, outer, self.code)
