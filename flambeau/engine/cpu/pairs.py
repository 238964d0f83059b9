"""Distances between all rows of a matrix, each before the ones after it.

``pair_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with ``args = {rows, result, words...}``, and the words. The
matrix is turned first, so that a vector holds one column of many rows: the distances from one row to these are made together,
column by column.
"""

from __future__ import annotations

from functools import partial

from flambeau.engine.cpu import threads
from flambeau.engine.cpu.compiler import session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import Frame, bytes_on, kernel, parameter, run_divided
from flambeau.engine.cpu.memory import store
from flambeau.engine.cpu.specs import KINDS, PairSpec

_ABREAST = 4
"""Vectors of distances that are made at once: each waits for its own sum only."""
WORTH_DIVIDING = 1 << 18
"""Differences, from which on rows are divided between threads."""

_WORDS = ("entry", "count", "width", "row", "column")
_JOB = ("turned", "result", "count", "width", "pitch")
"""What is told to the part that does some of the rows."""


def pair_kernel(spec: PairSpec) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    on, form = session(), ("pairs", KINDS[spec.dtype.name], spec.power)
    (count, width), size = spec.shape, spec.dtype.itemsize
    divided = count * count * width >= 2 * WORTH_DIVIDING
    if form not in on.memo:
        on.memo[form] = _Pairs(on, form[1]).kernel(form)
    return on.memo[form], (threads.entry(light=False) if divided else 0, count, width, *(s * size for s in spec.strides))


class _Pairs(Frame):
    def kernel(self, form: tuple) -> int:
        part = Frame(self.session, self.kind)
        self.some_rows(part, form[2])
        self.write()
        return kernel(self.session, "pairs", form, self.code, part.code)

    def write(self) -> None:
        """Turns the matrix, and has all rows done."""
        code, args = self.code, parameter(self.code, "args")
        rows, result = self.arguments(2)
        entry = args.offset(2, "ptr").load("ptr")
        count, width, row, column = (args.offset(3 + k, "i64").load("i64") for k in range(4))
        pitch = (count + _ABREAST * self.lanes) * self.size  # vectors that reach beyond the last row find memory
        turned, memory = self.heap(pitch * width)

        def one(i: Value, at: list[Value]) -> list[Value]:
            def number(_: Value, at: list[Value]) -> list[Value]:
                at[1].store(at[0].load(self.kind))
                return [bytes_on(at[0], column), bytes_on(at[1], pitch)]

            code.loop(code.index(0), width, 1, [at[0], turned.offset(i, self.kind)], number)
            return [bytes_on(at[0], row)]

        code.loop(code.index(0), count, 1, [rows], one)
        job = code.allocate("i64", len(_JOB))
        job.store(turned)
        job.offset(1, "ptr").store(result)
        for field, value in ((2, count), (3, width), (4, pitch)):
            self.set(job, field, value)
        run_divided(code, job, count - 1, entry)
        self.release(memory)

    def some_rows(self, f: Frame, power: float) -> None:
        """The distances from rows ``first`` to before ``last`` to those after each of them."""
        code, lanes, job = f.code, f.lanes, parameter(f.code, "args")
        turned, result = f.arguments(2)
        count, width, pitch = (job.offset(k, "i64").load("i64") for k in (2, 3, 4))
        first, last = parameter(code, "first", "i64"), parameter(code, "last", "i64")
        zero = code.const(0.0, f.kind, lanes)

        def combined(total: Value, apart: Value) -> Value:
            if power == 2:
                return total + apart * apart
            apart = apart.abs()
            if power == 0:  # how many differ; NaN stays
                apart = apart.compare("ogt", 0.0).select(1.0, apart)
            if power < 2:
                return total + apart
            return apart.compare("ogt", total).select(apart, apart.compare("uno", apart).select(apart, total))

        def row(i: Value) -> None:
            to = result.offset((i * (count * 2 - i - 1)).binary("udiv", 2), f.kind)  # behind those of the rows before
            others = count - i - 1

            def some(vectors: int, j: Value, _: list[Value]) -> list[Value]:
                def column(_: Value, carried: list[Value]) -> list[Value]:
                    line, *totals = carried
                    mine = line.offset(i, f.kind).load(f.kind).splat(lanes)
                    near = line.offset(i + j + 1, f.kind)
                    apart = [mine - near.offset(v * lanes, f.kind).load(f.kind, lanes) for v in range(vectors)]
                    return [bytes_on(line, pitch), *map(combined, totals, apart)]

                totals = code.loop(code.index(0), width, 1, [turned, *[zero] * vectors], column)[1:]
                for v, total in enumerate(totals):
                    numbers = (j + v * lanes).splat(lanes) + code.vector(range(lanes), "i64")
                    written = None if vectors > 1 else numbers.compare("slt", others.splat(lanes))
                    store(to.offset(j + v * lanes, f.kind), total.sqrt() if power == 2 else total, 1, written)
                return []

            whole = others - others.binary("urem", _ABREAST * lanes)
            code.loop(code.index(0), whole, _ABREAST * lanes, [], partial(some, _ABREAST))
            code.loop(whole, others, lanes, [], partial(some, 1))

        f.between(first, last, row)
