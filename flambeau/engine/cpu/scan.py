"""Running sums, products and extremes.

``scan_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with ``args = {input, result[, places], words...}``, and the words, which
say how large everything is. Floating-point numbers are added in double precision, one after the other, as the interpreter does:
the result is the same bit for bit.
"""

from __future__ import annotations

from flambeau.core.dtypes import FLOATING
from flambeau.core.dtypes import dtype as DType
from flambeau.core.size import contiguous_strides
from flambeau.engine.cpu.compiler import session
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.frame import bytes_on, kernel, parameter
from flambeau.engine.cpu.operations import memory_kind
from flambeau.engine.cpu.specs import ScanSpec


def scan_kernel(spec: ScanSpec) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    size, targets = spec.dtype.itemsize, contiguous_strides(spec.shape)
    steps = [[s * size for s in spec.strides], [t * size for t in targets]]
    if spec.how in EXTREMES:
        steps.append([t * 8 for t in targets])
    walks = list(zip(spec.shape, *steps, strict=True))
    along = walks.pop(spec.dim)
    lines: list[tuple[int, ...]] = []
    for n, *apart in walks:
        if lines and list(lines[-1][1:]) == [n * s for s in apart]:
            n *= lines.pop()[0]
        if n > 1:
            lines.append((n, *apart))
    words = tuple([word for walk in (*lines, along) for word in walk])
    on, form = session(), ("scan", spec.dtype, spec.how, len(lines))
    if form not in on.memo:
        on.memo[form] = kernel(on, "scan", form, _written(Code(on.machine), *form[1:]))
    address: int = on.memo[form]
    return address, words


EXTREMES = ("max", "min")


def _written(code: Code, dtype: DType, how: str, rank: int) -> Code:
    """The kernel for lines along ``rank`` dims. Its words are {extent, bytes from element to element of each argument} of each, and of
    the lines."""
    kind = memory_kind(dtype)
    floating = dtype.kind == FLOATING
    wide = "double" if floating else kind
    start = code.const((1 if how == "product" else -0.0 if floating else 0), wide)  # -0.0 + x is x, whatever x is
    pointers = 3 if how in EXTREMES else 2
    args = parameter(code, "args")
    words = [args.offset(pointers + k, "i64").load("i64") for k in range((pointers + 1) * (rank + 1))]

    def walk(d: int, at: list[Value]) -> None:
        extent, *steps = words[(pointers + 1) * d :][: pointers + 1]

        def moved(at: list[Value]) -> list[Value]:
            return [bytes_on(p, s) for p, s in zip(at, steps)]

        def lines(_: Value, at: list[Value]) -> list[Value]:
            walk(d + 1, at)
            return moved(at)

        def element(_: Value, carried: list[Value]) -> list[Value]:
            source, target, so_far = carried
            x = source.load(kind).convert("fpext", wide)
            total = so_far * x if how == "product" else so_far + x
            target.store(total.convert("fptrunc", kind))
            return [*moved([source, target]), total]

        def extreme(i: Value, carried: list[Value]) -> list[Value]:
            source, target, place, best, which = carried
            x = source.load(kind)
            newer = x.compare(("o" if floating else "s") + ("ge" if how == "max" else "le"), best) | i.compare("eq", 0)
            if floating:
                newer = newer | x.compare("uno", x)  # NaN stays, and the last one is it
            best, which = newer.select(x, best), newer.select(i, which)
            target.store(best)
            place.store(which)
            return [*moved([source, target, place]), best, which]

        if d < rank:
            code.loop(code.index(0), extent, 1, at, lines)
        elif how in EXTREMES:
            code.loop(code.index(0), extent, 1, [*at, code.const(0, kind), code.index(0)], extreme)
        else:
            code.loop(code.index(0), extent, 1, [*at, start], element)

    walk(0, [args.offset(k, "ptr").load("ptr") for k in range(pointers)])
    return code
