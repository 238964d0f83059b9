"""The loops around register tiles: one kernel for each *form* of products, which reads its sizes when it runs.

What depends on sizes, down to the addresses of tiles and the jobs that they are given, stands in words that
:mod:`flambeau.engine.cpu.gemm` makes; strides are in bytes, so a form serves every dtype. The words are

    Numbers, calls, batch, jobs

where ``calls`` are pairs {address of a tile, how many bytes behind the first word its job lies}: for the first block
of the inner dimension, and where there are several those between and the last one; for each for whole panels of B and what
is left; for each of these for whole tiles and what is left. ``batch`` has for each dim its extent and the strides of A, B, C
and D.
"""

from __future__ import annotations

from typing import NamedTuple

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.frame import Frame, Reader, bytes_on, kernel, parameter


class Form(NamedTuple):
    """What the text of a kernel depends on."""

    arguments: int  # A, B, C and perhaps D; the words follow
    rank: int = 0  # dims of the batch
    many: bool = False  # whether there are several blocks of the inner dimension, ...
    banded: bool = False  # ... bands of rows, ...
    tall: bool = False  # ... tiles one below the other, ...
    wide: bool = False  # ... and panels
    divided: str = ""  # what threads divide: the "batch", "bands" of rows, "panels", "rows" of tiles, or "blocks"
    pack_a: bool = False
    pack_b: str = ""  # whether panels of B are "copied", ... or, where they have no neighbours, "strided", or not
    scattered: bool = False  # whether the addend is copied into the result first


class Numbers(NamedTuple):
    """A kernel's numbers by name. Tiles are counted from the first row on, panels from the first column on."""

    a: int  # which argument is A,
    b: int  # which one B,
    d: int  # and which one D: C where there is none
    batch: int  # how many products there are
    tasks: int  # how many parts threads divide, ...
    entry: int  # ... and the address of what divides them
    blocks: int
    steps: int  # of a tile in one block,
    last_steps: int  # and in the last one
    a_block: int
    b_block: int
    bands: int
    band: int  # tiles in one
    tiles: int
    whole: int  # those that are no smaller than others
    panels: int
    rest_panel: int  # the one that has fewer columns; -1: none has
    a_tile: int
    c_tile: int
    d_tile: int
    b_panel: int
    c_panel: int
    d_panel: int
    a_room: int = 0  # bytes for a band of A, copied
    a_packed: int = 0  # bytes of a tile's rows in it
    a_step: int = 0
    pack_a: int = 0  # the address of what copies such tiles, ...
    pack_rest: int = 0  # ... and the one that has fewer rows
    b_room: int = 0
    b_stride: int = 0  # from row to row of B, or from column to column where it is transposed
    b_across: int = 0  # from column to column
    copy: int = 0  # the address of what copies a panel of B,
    columns: int = 0  # how many it has (where rows are copied, the mask of the last vector),
    width: int = 0  # and the bytes of a row in the copy;
    rest_copy: int = 0  # the same for the panel that has fewer
    rest_columns: int = 0
    rest_width: int = 0
    put: int = 0  # what copies addends; then their strides
    d_row: int = 0
    d_column: int = 0
    c_row: int = 0
    rows: int = 0
    rest_rows: int = 0
    panel: int = 0  # columns of one
    rest: int = 0
    c_block: int = 0  # bytes of a block's sums
    sums: int = 0  # of all of them
    join: int = 0  # the address of what adds them
    join_job: int = 0
    m: int = 0
    n: int = 0


CALLS = len(Numbers._fields)
"""Where the calls begin; each block has four pairs."""


def calls_of(form: Form) -> int:
    """How many words the calls take."""
    return 24 if form.many else 8


def product_kernel(session: Session, form: Form) -> int:
    """The address of ``void kernel(i8** args)`` with ``args = {A, B, C[, D], words}``, compiled when it is first asked for."""
    key = ("nest", form)
    if key not in session.memo:
        session.memo[key] = _kernel(session, form)
    address: int = session.memo[key]
    return address


def _kernel(session: Session, form: Form) -> int:
    nest = Nest(session, form)
    nest.write()
    if not form.divided:
        return kernel(session, "gemm", form, nest.code)
    code = Code(session.machine)
    args = context = parameter(code, "args")
    numbers = Reader(args.offset(form.arguments, "ptr"), Numbers._fields)
    if form.divided == "blocks":
        sums, context = code.allocate("i8", numbers("sums")), code.allocate("ptr", 2)
        context.store(args)
        context.offset(1, "ptr").store(sums)
    code.invoke(numbers("entry", "ptr"), [Value(code, "@part", "ptr", 0), context, numbers("tasks")])
    if form.divided == "blocks":
        c, d = (args.offset(i, "ptr").load("ptr") for i in (2, form.arguments - 1))
        job = bytes_on(numbers.words, numbers("join_job"))
        code.invoke(numbers("join", "ptr"), [c, sums, d, job, numbers("m"), numbers("n"), numbers("tasks")])
    return kernel(session, "gemm", form, code, nest.code)


class Nest(Frame):
    """Writes the loops of a form."""

    def __init__(self, session: Session, form: Form) -> None:
        super().__init__(session, "i8")
        self.form = form
        args = parameter(self.code, "args")
        if form.divided == "blocks":  # the tasks are given a place for their sums
            args, self.sums = args.load("ptr"), args.offset(1, "ptr").load("ptr")
        self.number = Reader(args.offset(form.arguments, "ptr"), Numbers._fields)
        places = self.number("a"), self.number("b"), 2, self.number("d")
        self.pointers = [args.offset(i, "ptr").load("ptr") for i in places]

    def write(self) -> None:
        """Everything."""
        form = self.form
        if form.pack_b:
            self.b_copy = self.code.allocate("i8", self.number("b_room"))
        if form.pack_a:
            self.a_copy, memory = self.heap(self.number("a_room"))
        if form.rank:
            self.between(*self.range("batch"), self.matrix)
        else:
            self.blocks(*self.pointers)
        if form.pack_a:
            self.release(memory)

    def range(self, what: str) -> tuple[Value, Value]:
        """The first of them that this call is to do, and the one after the last."""
        if what == self.form.divided:
            return parameter(self.code, "first", "i64"), parameter(self.code, "last", "i64")
        return self.code.index(0), self.number("tiles" if what == "rows" else what)

    def on(self, pointer: Value, i: Value | None, stride: str) -> Value:
        """The place ``i`` times that number of bytes further on; once, where it is ``None``."""
        return bytes_on(pointer, self.number(stride) if i is None else i * self.number(stride))

    def either(self, rest: Value | None, names: tuple[str, str], kind: str = "i64") -> Value:
        """The first of two numbers, or the second where there is less."""
        first = self.number(names[0], kind)
        return first if rest is None else rest.select(self.number(names[1], kind), first)

    def matrix(self, i: Value) -> None:
        """One matrix of the batch."""
        at = self.pointers
        for dim in reversed(range(self.form.rank)):
            start = CALLS + calls_of(self.form) + 5 * dim
            extent, *strides = (self.number.words.offset(start + k, "i64") for k in range(5))
            place = i.binary("urem", extent.load("i64")) if dim else i
            if dim:
                i = i.binary("udiv", extent.load("i64"))
            at = [bytes_on(p, place * s.load("i64")) for p, s in zip(at, strides, strict=True)]
        self.blocks(*at)

    def blocks(self, a: Value, b: Value, c: Value, d: Value) -> None:
        """Blocks along the inner dimension, in which panels of B pass the rows of A."""
        form, number = self.form, self.number
        calls = number.words.offset(CALLS, "i64")
        if not form.many:
            self.bands(a, b, c, d, number("last_steps"), calls, None)
            return

        def block(i: Value) -> None:
            is_last, later = i.compare("eq", number("blocks") - 1), i.compare("ne", 0)
            steps = is_last.select(number("last_steps"), number("steps"))
            x, y = self.on(a, i, "a_block"), self.on(b, i, "b_block")
            if form.divided == "blocks":
                sums = self.on(self.sums, i, "c_block")
                self.bands(x, y, sums, sums, steps, calls, None)
            else:
                which = later.select(is_last.select(self.code.index(2), 1), 0)
                self.bands(x, y, c, d, steps, calls.offset(which * 8, "i64"), later)

        self.between(*self.range("blocks"), block)

    def bands(self, a: Value, b: Value, c: Value, d: Value, steps: Value, calls: Value, later: Value | None) -> None:
        """Bands of tiles, which all panels of B pass before the next one. ``later`` if this is not the first block."""

        def band(low: Value, high: Value, a: Value, c: Value, d: Value) -> None:
            if self.form.pack_a:
                self.pack_a(a, steps, low, high)
                a = self.a_copy
            self.panels(a, b, c, d, steps, calls, later, low, high)

        def one(i: Value) -> None:
            low = i * self.number("band")
            high = self.code.call("llvm.umin.i64", [low + self.number("band"), self.number("tiles")], "i64", 0)
            band(low, high, *self.below(low, a, c, d))

        if self.form.banded:
            self.between(*self.range("bands"), one)
        elif self.form.divided == "rows":
            low, high = self.range("rows")
            band(low, high, *self.below(low, a, c, d))
        else:
            band(*self.range("rows"), a, c, d)

    def below(self, tiles: Value, a: Value, c: Value, d: Value) -> list[Value]:
        """The places so many tiles further down."""
        return [self.on(p, tiles, f"{which}_tile") for which, p in (("a", a), ("c", c), ("d", d))]

    def panels(
        self, a: Value, b: Value, c: Value, d: Value, steps: Value, calls: Value, later: Value | None,
        low: Value, high: Value,
    ) -> None:  # fmt: skip
        """Panels of B pass the tiles from ``low`` to ``high``, which ``a``, ``c`` and ``d`` are those of."""
        first, last = self.range("panels")
        if self.form.divided == "panels":
            b, c, d = (self.on(p, first, f"{which}_panel") for which, p in (("b", b), ("c", c), ("d", d)))

        def panel(j: Value, at: list[Value]) -> list[Value]:
            narrow = j.compare("eq", self.number("rest_panel")) if self.form.wide else None
            row = calls if narrow is None else calls.offset(narrow.convert("zext", "i64") * 4, "i64")
            from_b, to_c, from_d = at
            if self.form.pack_b:
                self.pack_b(from_b, steps, narrow)
                from_b = self.b_copy
            self.tiles(a, from_b, to_c, from_d, steps, row, later, low, high, narrow)
            return at if narrow is None else [self.on(p, None, f"{w}_panel") for w, p in zip("bcd", at, strict=True)]

        if self.form.wide:
            self.code.loop(first, last, 1, [b, c, d], panel)
        else:
            panel(first, [b, c, d])

    def tiles(
        self, a: Value, b: Value, c: Value, d: Value, steps: Value, calls: Value, later: Value | None,
        low: Value, high: Value, narrow: Value | None,
    ) -> None:  # fmt: skip
        """A panel of B passes the tiles."""
        form, number = self.form, self.number

        def tile(at: list[Value], address: Value, job: Value, short: bool) -> list[Value]:
            x, y, z = at
            if form.scattered:
                if later is None:
                    self.put(y, z, short, narrow)
                else:
                    self.when(~later, lambda: self.put(y, z, short, narrow))
                z = y
            elif later is not None:
                z = later.select(y, z)
            self.code.invoke(address, [x, b, y, z, steps, job])
            strides = "a_packed" if form.pack_a else "a_tile", "c_tile", "d_tile"
            return [self.on(p, None, s) for p, s in zip(at, strides, strict=True)] if form.tall else at

        # What a call needs is there before the loop: the tile after a long one begins late as it is, by a wrong guess of when
        # that ends.
        first, second = (
            (call.load("ptr"), bytes_on(number.words, call.offset(1, "i64").load("i64")))
            for call in (calls, calls.offset(2, "i64"))
        )
        if form.tall:
            whole = self.code.call("llvm.umin.i64", [high, number("whole")], "i64", 0)
            at = self.code.loop(low, whole, 1, [a, c, d], lambda _, at: tile(at, *first, False))
            self.code.when(whole.compare("ult", high), [], lambda: tile(at, *second, True)[:0])
        else:
            tile([a, c, d], *first, False)

    def put(self, c: Value, d: Value, short: bool, narrow: Value | None) -> None:
        """Copies the addend of one tile to its place in the result."""
        number = self.number
        rows, columns = number("rest_rows" if short else "rows"), self.either(narrow, ("panel", "rest"))
        strides = number("d_row"), columns, number("c_row"), number("d_column")
        self.code.invoke(number("put", "ptr"), [c, d, rows, *strides])

    def pack_a(self, a: Value, steps: Value, low: Value, high: Value) -> None:
        """Copies tiles of A, one behind the other."""
        number = self.number
        short = high.compare("ugt", number("whole"))
        whole = high - low - short.convert("zext", "i64")

        def copy(what: str, to: Value, a: Value, count: Value) -> None:
            arguments = [to, a, steps, number("a_step"), count, number("a_packed")]
            self.code.invoke(number(what, "ptr"), arguments)

        copy("pack_a", self.a_copy, a, whole)
        rest = self.on(self.a_copy, whole, "a_packed"), self.on(a, whole, "a_tile")
        self.when(short, lambda: copy("pack_rest", *rest, self.code.index(1)))

    def pack_b(self, b: Value, steps: Value, narrow: Value | None) -> None:
        """Copies a panel of B."""
        columns, width = self.either(narrow, ("columns", "rest_columns")), self.either(narrow, ("width", "rest_width"))
        arguments = [self.b_copy, b, steps, self.number("b_stride"), columns, width]
        if self.form.pack_b == "strided":
            arguments.append(self.number("b_across"))
        self.code.invoke(self.either(narrow, ("copy", "rest_copy"), "ptr"), arguments)
