"""Running sums and products.

``scan_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with ``args = {input, result, words...}``, and the words, which
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
    walks = [(n, s * size, t * size) for n, s, t in zip(spec.shape, spec.strides, targets, strict=True)]
    along = walks.pop(spec.dim)
    lines: list[tuple[int, int, int]] = []
    for n, s, t in walks:
        if lines and lines[-1][1:] == (n * s, n * t):
            n *= lines.pop()[0]
        if n > 1:
            lines.append((n, s, t))
    words = tuple([word for walk in (*lines, along) for word in walk])
    on, form = session(), ("scan", spec.dtype, spec.product, len(lines))
    if form not in on.memo:
        on.memo[form] = kernel(on, "scan", form, _written(Code(on.machine), *form[1:]))
    address: int = on.memo[form]
    return address, words


def _written(code: Code, dtype: DType, product: bool, rank: int) -> Code:
    """The kernel for lines along ``rank`` dims. Its words are {extent, stride of the input, of the result} of each, and of the lines."""
    kind = memory_kind(dtype)
    floating = dtype.kind == FLOATING
    wide = "double" if floating else kind
    start = code.const((1 if product else -0.0 if floating else 0), wide)  # -0.0 + x is x, whatever x is
    args = parameter(code, "args")
    words = [args.offset(2 + k, "i64").load("i64") for k in range(3 * (rank + 1))]

    def walk(d: int, source: Value, target: Value) -> None:
        extent, *steps = words[3 * d : 3 * d + 3]

        def moved(at: list[Value]) -> list[Value]:
            return [bytes_on(p, s) for p, s in zip(at, steps)]

        def lines(_: Value, at: list[Value]) -> list[Value]:
            walk(d + 1, *at)
            return moved(at)

        def element(_: Value, carried: list[Value]) -> list[Value]:
            source, target, so_far = carried
            x = source.load(kind).convert("fpext", wide)
            total = so_far * x if product else so_far + x
            target.store(total.convert("fptrunc", kind))
            return [*moved([source, target]), total]

        if d < rank:
            code.loop(code.index(0), extent, 1, [source, target], lines)
        else:
            code.loop(code.index(0), extent, 1, [source, target, start], element)

    walk(0, *(args.offset(k, "ptr").load("ptr") for k in range(2)))
    return code
