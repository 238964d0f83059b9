"""Register tiles: the inside of matrix products and convolutions.

A tile holds ``rows x vectors`` accumulators in registers. Each step along the inner dimension loads ``vectors`` vectors of
B and broadcasts one number of A for each row (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication",
ACM TOMS 34, 2008). Strides and lengths are given at run time, so that a few tiles, compiled once, serve products of every
shape. A function here compiles its part into a session, the first time, and returns the symbol that kernels call it by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import BITS, FLOATS, Code, Value
from flambeau.engine.cpu.frame import bytes_on, lanes_of, parameter, shared
from flambeau.engine.cpu.memory import load, store

# A job: what tiles of one kind have in common, as 8-byte fields in memory.
A_ROWS, A_STEP, B_STEP, C_ROW, D_ROW, MASK, ADDEND, ALPHA, BETA, TABLE, IMAGES, A_IMAGE, B_IMAGE = 0, *range(4, 16)
AHEAD, AHEAD_STEP, LINES = 16, 17, 18
"""Offsets of the first four rows of A after the first; other strides, all in bytes; the columns that the last vector really
has (as bits); whether there is an addend; the scale factors (see :func:`factor`); where each row of B lies; for :func:`dot` how
many pieces the inner dimension has, and the bytes from one to the next; for tiles that fetch what comes after them, how far from
A that begins, the bytes from one step's to the next, and where the lines of the result lie."""
MOST_LINES = 32
JOB_BYTES = (18 + MOST_LINES) * 8


class Columns:
    """``vectors`` vectors side by side in memory, the last of them masked unless ``mask`` is ``None``."""

    def __init__(self, code: Code, kind: str, lanes: int, vectors: int, mask: Value | None) -> None:
        self.kind = kind
        self.lanes = lanes
        self.vectors = vectors
        self.mask = mask

    def load(self, pointer: Value) -> list[Value]:
        """What lies there, with zeros where the mask is not set."""
        whole = self.vectors - (self.mask is not None)
        values = [pointer.offset(v * self.lanes, self.kind).load(self.kind, self.lanes) for v in range(whole)]
        if self.mask is not None:
            values.append(masked_load(pointer.offset(whole * self.lanes, self.kind), self.kind, self.mask))
        return values

    def store(self, pointer: Value, values: Sequence[Value]) -> None:
        """Stores the vectors there, except for what is masked."""
        for v, value in enumerate(values):
            place = pointer.offset(v * self.lanes, self.kind)
            if self.mask is not None and v == self.vectors - 1:
                masked_store(place, value, self.mask)
            else:
                place.store(value)


def masked_load(pointer: Value, kind: str, mask: Value) -> Value:
    """Lanes whose mask is set, from neighbours in memory; zeros in the others, whose memory is not touched."""
    return load(pointer, kind, mask.lanes, 1, mask)


def masked_store(pointer: Value, value: Value, mask: Value) -> None:
    """Stores the lanes whose mask is set."""
    store(pointer, value, 1, mask)


def mask_of(bits: Value, lanes: int) -> Value:
    """The first bits of an ``i64`` as a vector of ``i1``."""
    few = bits.code.new(f"trunc i64 {bits.ref} to i{lanes}", f"i{lanes}", 0)
    return bits.code.new(f"bitcast i{lanes} {few.ref} to <{lanes} x i1>", "i1", lanes)


def shuffle(x: Value, y: Value, picked: Sequence[int]) -> Value:
    """Those lanes of ``x`` followed by ``y``."""
    chosen = ", ".join(f"i32 {i}" for i in picked)
    expr = f"shufflevector {x.type} {x.ref}, {y.type} {y.ref}, <{len(picked)} x i32> <{chosen}>"
    return x.code.new(expr, x.kind, len(picked))


def tile(
    session: Session,
    kind: str,
    rows: int,
    vectors: int,
    masked: bool,
    table: bool = False,
    rectified: bool = False,
    ahead: bool = False,
) -> str:
    """``tile(a, b, c, d, steps, job)``: ``c = alpha * a @ b + beta * d`` for that many rows and vectors.

    ``masked`` if the last vector is not whole; with ``table`` each row of B lies at an offset of its own. Where it is
    ``rectified``, what is less than 0 becomes 0. ``ahead`` if each of the first steps has a line of the result brought to the
    cache, rather than the beginning all of them, and each step one of what comes after A.
    """
    name = f"flambeau_tile_{kind}_{rows}x{vectors}{'m' * masked}{'t' * table}{'r' * rectified}{'a' * ahead}"
    parameters = "ptr %a, ptr %b, ptr %c, ptr %d, i64 %steps, ptr %job"
    lanes = lanes_of(session, kind)
    chosen = masked, table, rectified, ahead
    return shared(session, name, parameters, lambda code: _tile(code, kind, lanes, rows, vectors, *chosen))


def _tile(
    code: Code, kind: str, lanes: int, rows: int, vectors: int, masked: bool, table: bool, rectified: bool, ahead: bool
) -> None:
    a, b, c, d, job = (parameter(code, n) for n in ("a", "b", "c", "d", "job"))
    steps = parameter(code, "steps", "i64")

    def field(number: int, what: str = "i64") -> Value:
        return job.offset(number, "i64").load(what)

    columns = Columns(code, kind, lanes, vectors, mask_of(field(MASK), lanes) if masked else None)
    a_step, b_step = field(A_STEP), field(B_STEP)
    offsets = row_offsets(field)
    a_pointers = row_pointers(a, rows, offsets)
    places = field(TABLE, "ptr") if table else b

    to, c_row = c, field(C_ROW)
    for _ in range(0 if ahead else rows):  # the result's lines come while the sums are made
        for v in range(vectors):
            where = to.offset(v * lanes, kind)
            code.perform("llvm.prefetch.p0", [where, *(Value(code, n, "i32", 0) for n in ("1", "3", "1"))])
        to = bytes_on(to, c_row)
    after = [bytes_on(a, field(AHEAD))] if ahead else []
    after_step = field(AHEAD_STEP) if ahead else a_step

    def step(i: Value, carried: list[Value]) -> list[Value]:
        pointers, p, sums = carried[: len(a_pointers)], carried[len(a_pointers)], carried[len(a_pointers) + 1 :]
        fetched = [sums.pop() for _ in after]
        for line in fetched:
            code.perform("llvm.prefetch.p0", [line, *(Value(code, n, "i32", 0) for n in ("0", "2", "1"))])
            place = job.offset((i & (MOST_LINES - 1)) + LINES, "i64").load("i64")
            code.perform("llvm.prefetch.p0", [bytes_on(c, place), *(Value(code, n, "i32", 0) for n in ("1", "3", "1"))])
        vectors_of_b = columns.load(bytes_on(b, places.offset(i, "i64").load("i64")) if table else p)
        new = []
        for r in range(rows):
            x = bytes_on(pointers[r // 4], offsets[r % 4]).load(kind).splat(lanes)
            new += [x.fma(y, sums[r * vectors + v]) for v, y in enumerate(vectors_of_b)]
        new += [bytes_on(line, after_step) for line in fetched]
        return [*(bytes_on(q, a_step) for q in pointers), p if table else bytes_on(p, b_step), *new]

    zero = code.const(0.0, kind, lanes)
    carried = code.loop(code.index(0), steps, 1, [*a_pointers, b, *[zero] * (rows * vectors), *after], step)
    sums = carried[len(a_pointers) + 1 :][: rows * vectors]

    alpha = factor(job, ALPHA, kind).splat(lanes)
    scaled = [s * alpha for s in sums]
    addend = field(ADDEND)

    def put(add: bool) -> list[Value]:
        to, other, d_row = c, d, field(D_ROW)
        beta = factor(job, BETA, kind).splat(lanes) if add else None
        for r in range(rows):
            values = scaled[r * vectors : (r + 1) * vectors]
            if beta is not None:
                values = [old * beta + value for old, value in zip(columns.load(other), values, strict=True)]
            if rectified:  # NaN and -0.0 stay
                values = [value.compare("olt" if kind in FLOATS else "slt", 0).select(zero, value) for value in values]
            columns.store(to, values)
            to, other = bytes_on(to, c_row), bytes_on(other, d_row)
        return []

    code.when(addend.compare("eq", 0), [], lambda: put(False))
    code.when(addend.compare("ne", 0), [], lambda: put(True))


def sum_of_blocks(session: Session, kind: str) -> str:
    """``sum(c, sums, d, job, rows, columns, blocks)``: ``c = beta * d + sums``, of matrices without gaps that follow each other.

    They are added in order, as a tile adds the sums of a block to those of the ones before.
    """
    lanes = lanes_of(session, kind)

    def write(code: Code) -> None:
        job, rows, columns = parameter(code, "job"), parameter(code, "rows", "i64"), parameter(code, "columns", "i64")
        c_row, d_row, addend = (job.offset(f, "i64").load("i64") for f in (C_ROW, D_ROW, ADDEND))
        beta = factor(job, BETA, kind).splat(lanes)
        one, blocks = rows * columns, parameter(code, "blocks", "i64")

        def put(add: bool) -> list[Value]:
            def row(_: Value, at: list[Value]) -> list[Value]:
                c, sums, d = at

                def vector(j: Value, _: list[Value]) -> list[Value]:
                    mask = (j.splat(lanes) + code.vector(range(lanes), "i64")).compare("slt", columns.splat(lanes))
                    place = sums.offset(j, kind)
                    total = masked_load(place, kind, mask)
                    if add:
                        total = masked_load(d.offset(j, kind), kind, mask) * beta + total

                    def block(i: Value, so_far: list[Value]) -> list[Value]:
                        return [so_far[0] + masked_load(place.offset(i * one, kind), kind, mask)]

                    (total,) = code.loop(code.index(1), blocks, 1, [total], block)
                    masked_store(c.offset(j, kind), total, mask)
                    return []

                code.loop(code.index(0), columns, lanes, [], vector)
                return [bytes_on(c, c_row), sums.offset(columns, kind), bytes_on(d, d_row)]

            code.loop(code.index(0), rows, 1, [parameter(code, n) for n in ("c", "sums", "d")], row)
            return []

        code.when(addend.compare("eq", 0), [], lambda: put(False))
        code.when(addend.compare("ne", 0), [], lambda: put(True))

    parameters = "ptr %c, ptr %sums, ptr %d, ptr %job, i64 %rows, i64 %columns, i64 %blocks"
    return shared(session, f"flambeau_blocks_{kind}", parameters, write)


def factor(job: Value, field: int, kind: str) -> Value:
    """A scale factor of a job's: a double, or an integer where integers are multiplied."""
    if kind in FLOATS:
        return job.offset(field, "i64").load("double").convert("fptrunc", kind)
    return job.offset(field, "i64").load("i64").convert("trunc", kind)


def row_offsets(field) -> list[Value | int]:
    """The offsets of four rows of A. They are loaded, not computed: LLVM would make each address from the one before,
    which is a chain longer than the sums."""
    return [0, *(field(A_ROWS + r) for r in range(4))]


def row_pointers(a: Value, rows: int, offsets: list[Value | int]) -> list[Value]:
    """A pointer to every fourth row: these and the offsets of three others fit into the integer registers."""
    pointers = [a]
    while 4 * len(pointers) < rows:
        pointers.append(bytes_on(pointers[-1], offsets[4]))
    return pointers


# --- inner products ----------------------------------------------------------------------------------------------------


def dot(session: Session, kind: str, rows: int, columns: int) -> str:
    """``dot(a, b, sums, vectors, job)``: adds to ``sums`` the inner products of rows of A with rows of B.

    Each of the sums is a vector, whose lanes are still to be added (:func:`totals`). The inner dimension has ``vectors`` whole
    vectors, and a masked one if the job's mask is set. The rows of B lie at offsets of their own (``TABLE``). All of this is
    repeated for ``IMAGES`` pieces.
    """
    name = f"flambeau_dot_{kind}_{rows}x{columns}"
    parameters = "ptr %a, ptr %b, ptr %sums, i64 %vectors, ptr %job"
    lanes = lanes_of(session, kind)

    def write(code: Code) -> None:
        a, b, place, job = (parameter(code, n) for n in ("a", "b", "sums", "job"))
        table = job.offset(TABLE, "i64").load("ptr")
        places = [bytes_on(b, table.offset(j, "i64").load("i64")) for j in range(columns)]
        a_image, b_image, images = (job.offset(f, "i64").load("i64") for f in (A_IMAGE, B_IMAGE, IMAGES))
        products = _products(code, kind, lanes, rows, job)

        def piece(i: Value, sums: list[Value]) -> list[Value]:
            skip = i * b_image
            return products(bytes_on(a, i * a_image), [bytes_on(p, skip) for p in places], sums)

        all_sums = Columns(code, kind, lanes, rows * columns, None)
        all_sums.store(place, code.loop(code.index(0), images, 1, all_sums.load(place), piece))

    return shared(session, name, parameters, write)


def _products(code: Code, kind: str, lanes: int, rows: int, job: Value) -> Callable[[Value, list[Value], list[Value]], list[Value]]:
    """What adds the products of rows of A, the first of which begins there, with rows of B to sums, lane by lane."""

    def field(number: int) -> Value:
        return job.offset(number, "i64").load("i64")

    offsets, bits = row_offsets(field), field(MASK)
    mask, tail = mask_of(bits, lanes), bits.compare("ne", 0)
    width = lanes * BITS[kind] // 8
    along = parameter(code, "vectors", "i64") * width

    def products(a: Value, bs: list[Value], sums: list[Value]) -> list[Value]:
        pointers = row_pointers(a, rows, offsets)

        def add(at: Value, sums: list[Value], load: Callable[[Value], Value]) -> list[Value]:
            xs = [load(bytes_on(bytes_on(pointers[r // 4], offsets[r % 4]), at)) for r in range(rows)]
            new = list(sums)
            for j, b_row in enumerate(bs):
                y = load(bytes_on(b_row, at))
                for r, x in enumerate(xs):
                    new[r * len(bs) + j] = x.fma(y, sums[r * len(bs) + j])
            return new

        whole = lambda p: p.load(kind, lanes)  # noqa: E731
        some = lambda p: masked_load(p, kind, mask)  # noqa: E731
        sums = code.loop(code.index(0), along, width, sums, lambda at, now: add(at, now, whole))
        return code.when(tail, sums, lambda: add(along, sums, some))

    return products


def totals(session: Session, kind: str, rows: int, columns: int) -> str:
    """``totals(c, sums, d, job)``: the totals of the lanes of ``rows * columns`` vectors, as a tile stores its sums."""
    lanes = lanes_of(session, kind)

    def write(code: Code) -> None:
        sums = Columns(code, kind, lanes, rows * columns, None).load(parameter(code, "sums"))
        _store_totals(code, kind, lanes, rows, columns, sums)

    name = f"flambeau_totals_{kind}_{rows}x{columns}"
    return shared(session, name, "ptr %c, ptr %sums, ptr %d, ptr %job", write)


def inner(session: Session, kind: str, rows: int, columns: int) -> str:
    """``inner(a, b, c, d, vectors, job)``: a tile of inner products of rows of A with rows of B, ``B_STEP`` bytes apart."""
    lanes = lanes_of(session, kind)

    def write(code: Code) -> None:
        job, bs = parameter(code, "job"), [parameter(code, "b")]
        step = job.offset(B_STEP, "i64").load("i64")
        while len(bs) < columns:
            bs.append(bytes_on(bs[-1], step))
        zeros = [code.const(0.0, kind, lanes)] * (rows * columns)
        sums = _products(code, kind, lanes, rows, job)(parameter(code, "a"), bs, zeros)
        _store_totals(code, kind, lanes, rows, columns, sums)

    name = f"flambeau_inner_{kind}_{rows}x{columns}"
    return shared(session, name, "ptr %a, ptr %b, ptr %c, ptr %d, i64 %vectors, ptr %job", write)


def _store_totals(code: Code, kind: str, lanes: int, rows: int, columns: int, sums: list[Value]) -> None:
    """Adds the lanes of each of the sums, and stores them as a tile does."""
    found = code.allocate(kind, len(sums) + lanes)
    for start in range(0, len(sums), lanes):
        found.offset(start, kind).store(_totals(sums[start : start + lanes], lanes))
    job = parameter(code, "job")

    def field(number: int, what: str = "i64") -> Value:
        return job.offset(number, "i64").load(what)

    alpha, beta = factor(job, ALPHA, kind), factor(job, BETA, kind)

    def put(add: bool) -> list[Value]:
        c, d = parameter(code, "c"), parameter(code, "d")
        for r in range(rows):

            def one(j: Value, _: list[Value], r=r, c=c, d=d) -> list[Value]:
                value = found.offset(j + r * columns, kind).load(kind) * alpha
                c.offset(j, kind).store(d.offset(j, kind).load(kind) * beta + value if add else value)
                return []

            code.loop(code.index(0), code.index(columns), 1, [], one)
            c, d = bytes_on(c, field(C_ROW)), bytes_on(d, field(D_ROW))
        return []

    addend = field(ADDEND)
    code.when(addend.compare("eq", 0), [], lambda: put(False))
    code.when(addend.compare("ne", 0), [], lambda: put(True))


def _totals(vectors: list[Value], lanes: int) -> Value:
    """The vector of the sums of up to ``lanes`` vectors: halves of two are added until one vector is left."""
    code, kind = vectors[0].code, vectors[0].kind
    vectors = vectors + [code.const(0.0, kind, lanes)] * (lanes - len(vectors))
    width = lanes  # of the piece of each vector that is still to be summed
    while width > 1:
        half = width // 2
        low = [p * width + i for p in range(2 * lanes // width) for i in range(half)]
        high = [i + half for i in low]
        vectors = [shuffle(x, y, low) + shuffle(x, y, high) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
        width = half
    return vectors[0]
