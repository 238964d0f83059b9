"""Running sums and products.

``scan_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with ``args = {input, result}``. Floating-point numbers
are added in double precision, one after the other, as the interpreter does: the result is the same bit for bit.
"""

from __future__ import annotations

from flambeau.core.dtypes import FLOATING
from flambeau.core.size import contiguous_strides
from flambeau.engine.cpu.compiler import session
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.frame import kernel, parameter
from flambeau.engine.cpu.operations import memory_kind
from flambeau.engine.cpu.specs import ScanSpec


def scan_kernel(spec: ScanSpec) -> int:
    """The address of the kernel, compiled if this session does not have it yet."""
    on = session()
    if spec not in on.memo:
        code = Code(on.machine)
        _write(spec, code)
        on.memo[spec] = kernel(on, "scan", spec, code)
    address: int = on.memo[spec]
    return address


def _write(spec: ScanSpec, code: Code) -> None:
    kind = memory_kind(spec.dtype)
    floating = spec.dtype.kind == FLOATING
    wide = "double" if floating else kind
    targets = contiguous_strides(spec.shape)
    start = code.const((1 if spec.product else -0.0 if floating else 0), wide)  # -0.0 + x is x, whatever x is

    def line(source: Value, target: Value) -> None:
        def step(i: Value, so_far: list[Value]) -> list[Value]:
            x = source.offset(i * spec.strides[spec.dim], kind).load(kind).convert("fpext", wide)
            total = so_far[0] * x if spec.product else so_far[0] + x
            target.offset(i * targets[spec.dim], kind).store(total.convert("fptrunc", kind))
            return [total]

        code.loop(code.index(0), code.index(spec.shape[spec.dim]), 1, [start], step)

    def lines(dims: list[int], source: Value, target: Value) -> None:
        if not dims:
            line(source, target)
            return
        d, *rest = dims

        def step(i: Value, _: list[Value]) -> list[Value]:
            lines(rest, source.offset(i * spec.strides[d], kind), target.offset(i * targets[d], kind))
            return []

        code.loop(code.index(0), code.index(spec.shape[d]), 1, [], step)

    args = parameter(code, "args")
    source, target = (args.offset(k, "ptr").load("ptr") for k in range(2))
    lines([d for d in range(len(spec.shape)) if d != spec.dim], source, target)
