"""Sums of rows of a table, bag by bag.

``bag_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with
``args = {table, indices[, bags], result, fault, words...}``, and the words. A sum stays in registers until its bag ends; the
table's columns are done some vectors at a time.
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau.engine.cpu import threads
from flambeau.engine.cpu.compiler import Session, session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import Frame, bytes_on, kernel, parameter, run_divided
from flambeau.engine.cpu.memory import load, store
from flambeau.engine.cpu.specs import KINDS, BagSpec

_ABREAST = 4
"""Vectors of a row that are added at a time."""
WORTH_DIVIDING = 1 << 17
"""Sums of so many numbers are divided between threads."""

_WORDS = ("entry", "checked", "rows", "count", "bags", "width", "row", "next", "across", "bag")
"""What divides bags between threads; whether indices are looked at first; how many rows the table has, how many indices there are
(of each bag, if these are equally long), how many bags and columns; and in bytes how far rows are apart, indices, those of
neighbouring bags of equal length, and the numbers of bags."""


def bag_kernel(spec: BagSpec) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    on, form = (
        session(),
        ("bags", KINDS[spec.dtype.name], spec.indices.itemsize * 8, spec.numbers.itemsize * 8 if spec.numbers else 0),
    )
    if form not in on.memo:
        on.memo[form] = _Bags(on, *form[1:]).kernel(form)
    total = spec.entries * spec.width * (1 if spec.numbers else spec.bags)
    entry = threads.entry(light=False) if total >= WORTH_DIVIDING and spec.bags > 1 else 0
    row, (across, step), size = spec.row * spec.dtype.itemsize, spec.strides, spec.indices.itemsize
    apart = across * (spec.numbers or spec.indices).itemsize
    return on.memo[form], (
        entry, int(spec.checked), spec.rows, spec.entries, spec.bags, spec.width, row, step * size, apart, apart,
    )  # fmt: skip


class _Bags(Frame):
    """``index`` and ``numbers`` are the bits of an index, and of the number of its bag; 0: bags are equally long."""

    def __init__(self, on: Session, kind: str, index: int, numbers: int) -> None:
        super().__init__(on, kind)
        self.index, self.numbers = f"i{index}", f"i{numbers}" if numbers else ""
        self.pointers = 5 if numbers else 4

    def words(self, f: Frame) -> Callable[..., Value]:
        args = parameter(f.code, "args")
        return lambda name, kind="i64": args.offset(self.pointers + _WORDS.index(name), "i64").load(kind)

    def kernel(self, form: tuple) -> int:
        self.some_bags()
        outer = Frame(self.session, self.kind)
        code, word = outer.code, self.words(outer)
        *_, fault = outer.arguments(self.pointers)

        def run() -> list[Value]:
            run_divided(code, parameter(code, "args"), word("bags"), word("entry", "ptr"))
            return []

        def refuse() -> list[Value]:
            fault.store(code.index(1))
            return []

        wrong = code.when(word("checked").compare("ne", 0), [code.index(0)], lambda: [self.wrong(outer)])[0].compare("ne", 0)
        code.when(wrong, [], refuse)
        code.when(~wrong, [], run)
        return kernel(self.session, "bags", form, code, self.code)

    def wrong(self, f: Frame) -> Value:
        """Whether an index is not one of the table's rows, or a number none of the bags': then not 0."""
        code, word = f.code, self.words(f)
        _, indices, numbers, *_ = f.arguments(self.pointers)
        rows, bags = word("rows"), word("bags")

        def line(first: Value, found: Value) -> Value:
            def one(_: Value, carried: list[Value]) -> list[Value]:
                at, found = carried
                outside = at.load(self.index).convert("sext", "i64").compare("uge", rows)
                return [bytes_on(at, word("next")), found | outside.convert("zext", "i64")]

            return code.loop(code.index(0), word("count"), 1, [first, found], one)[1]

        if not self.numbers:
            each = code.loop(
                code.index(0), bags, 1, [indices, code.index(0)], lambda _, at: [bytes_on(at[0], word("across")), line(*at)]
            )
            return each[1]

        def number(_: Value, carried: list[Value]) -> list[Value]:
            at, found = carried
            outside = at.load(self.numbers).convert("sext", "i64").compare("uge", bags)
            return [bytes_on(at, word("bag")), found | outside.convert("zext", "i64")]

        return code.loop(code.index(0), word("count"), 1, [numbers, line(indices, code.index(0))], number)[1]

    def some_bags(self) -> None:
        """The sums of the bags from ``first`` to before ``last``."""
        code, word = self.code, self.words(self)
        table, indices, *rest = self.arguments(self.pointers)
        result, width = rest[-2], word("width")
        first, last = parameter(code, "first", "i64"), parameter(code, "last", "i64")
        if self.numbers:  # a bag may have nothing in it
            self.clear(result.offset(first * width, self.kind), (last - first) * width * self.size)

        def some(vectors: int, u: Value, _: list[Value]) -> list[Value]:
            numbers = code.vector(range(self.lanes), "i64")
            mask = None if vectors > 1 else (u.splat(self.lanes) + numbers).compare("slt", width.splat(self.lanes))
            sums = _Sums(self, result.offset(u, self.kind), width, vectors, mask)

            def added(index: Value, so_far: list[Value]) -> list[Value]:
                row = index.load(self.index).convert("sext", "i64")
                row = row.compare("ult", word("rows")).select(row, 0)  # whatever it is now that others have looked
                at = bytes_on(table, row * word("row")).offset(u, self.kind)
                return [a + x for a, x in zip(so_far, sums.vectors_at(at), strict=True)]

            if self.numbers:
                self.by_numbers(indices, rest[0], first, last, sums, added)
            else:
                self.by_length(bytes_on(indices, first * word("across")), first, last, sums, added)
            return []

        whole = width - width.binary("urem", _ABREAST * self.lanes)
        code.loop(code.index(0), whole, _ABREAST * self.lanes, [], lambda u, at: some(_ABREAST, u, at))
        code.loop(whole, width, self.lanes, [], lambda u, at: some(1, u, at))

    def by_length(self, indices: Value, first: Value, last: Value, sums: _Sums, added: Callable) -> None:
        """Bags that are equally long."""
        code, word = self.code, self.words(self)

        def bag(b: Value, at: list[Value]) -> list[Value]:
            def one(_: Value, carried: list[Value]) -> list[Value]:
                return [bytes_on(carried[0], word("next")), *added(carried[0], carried[1:])]

            sums.put(b, code.loop(code.index(0), word("count"), 1, [at[0], *sums.zeros()], one)[1:])
            return [bytes_on(at[0], word("across"))]

        code.loop(first, last, 1, [indices], bag)

    def by_numbers(self, indices: Value, numbers: Value, first: Value, last: Value, sums: _Sums, added: Callable) -> None:
        """Bags that are numbered index by index, in whatever order."""
        code, word = self.code, self.words(self)

        def one(_: Value, carried: list[Value]) -> list[Value]:
            index, number, *state = carried
            bag = number.load(self.numbers).convert("sext", "i64")

            def take() -> list[Value]:
                here, *so_far = state

                def turn() -> list[Value]:
                    sums.put(here, so_far)
                    return sums.get(bag)

                return [bag, *added(index, code.when(bag.compare("ne", here), so_far, turn))]

            found = code.when((bag - first).compare("ult", last - first), state, take)
            return [bytes_on(index, word("next")), bytes_on(number, word("bag")), *found]

        _, _, here, *so_far = code.loop(code.index(0), word("count"), 1, [indices, numbers, first, *sums.zeros()], one)
        sums.put(here, so_far)


class _Sums:
    """Some columns of the result: ``vectors`` from ``result`` on in each row of ``width``."""

    def __init__(self, f: Frame, result: Value, width: Value, vectors: int, mask: Value | None) -> None:
        self.f = f
        self.result = result
        self.width = width
        self.vectors = vectors
        self.mask = mask

    def zeros(self) -> list[Value]:
        return [self.f.code.const(0.0, self.f.kind, self.f.lanes)] * self.vectors

    def vectors_at(self, place: Value) -> list[Value]:
        lanes = self.f.lanes
        return [load(place.offset(v * lanes, self.f.kind), self.f.kind, lanes, 1, self.mask) for v in range(self.vectors)]

    def _row(self, bag: Value) -> Value:
        return self.result.offset(bag * self.width, self.f.kind)

    def get(self, bag: Value) -> list[Value]:
        return self.vectors_at(self._row(bag))

    def put(self, bag: Value, sums: list[Value]) -> None:
        for v, value in enumerate(sums):
            store(self._row(bag).offset(v * self.f.lanes, self.f.kind), value, 1, self.mask)
