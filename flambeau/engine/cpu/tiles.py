"""Register tiles: the inside of a matrix product, and the packing that feeds it.

A tile holds ``rows x vectors`` accumulators in registers. Each step along the inner dimension loads ``vectors`` vectors of
B and broadcasts one number of A for each row (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication",
ACM TOMS 34, 2008). Strides and lengths are given at run time, so that a few tiles, compiled once, serve products of every
shape. A function here compiles its part into a session, the first time, and returns the symbol that kernels call it by.
"""

from __future__ import annotations

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import BITS, Code, Value

# A job: what tiles of one kind have in common, as 8-byte fields in memory.
A_ROWS, A_STEP, B_STEP, C_ROW, D_ROW, MASK, ADDEND, ALPHA, BETA = 0, 4, 5, 6, 7, 8, 9, 10, 11
"""Offsets of the first four rows of A after the first; other strides, all in bytes; the columns that the last vector really
has (as bits), whether there is an addend, and the scale factors."""
JOB_BYTES = 12 * 8

TILE_PARAMETERS = ("ptr", "ptr", "ptr", "ptr", "i64", "ptr")
"""``tile(a, b, c, d, steps, job)``: ``c = alpha * a @ b + beta * d``."""


def parameter(code: Code, name: str, kind: str = "ptr") -> Value:
    """A parameter of the function that is being written."""
    return Value(code, "%" + name, kind, 0)


def bytes_on(pointer: Value, offset: Value | int) -> Value:
    """The address ``offset`` bytes further on."""
    return pointer.offset(offset, "i8")


def define(code: Code, name: str, parameters: str) -> str:
    """The module that has ``code`` as its function ``name``."""
    return "\n".join(
        [*code.declarations.values(), f"define void @{name}({parameters}) nounwind {{", "entry:", *code.lines, "  ret void", "}", ""]
    )


def _shared(session: Session, name: str, parameters: str, code: Code) -> str:
    session.memo[name] = session.compile_ir(define(code, name, parameters), name)
    return name


def lanes_of(session: Session, kind: str) -> int:
    """How many numbers of ``kind`` a vector register holds."""
    return session.machine.vector_bytes * 8 // BITS[kind]


class Columns:
    """``vectors`` vectors side by side in memory, the last of them masked unless ``mask`` is ``None``."""

    def __init__(self, code: Code, kind: str, lanes: int, vectors: int, mask: Value | None) -> None:
        self.code = code
        self.kind = kind
        self.lanes = lanes
        self.vectors = vectors
        self.mask = mask
        self._suffix = f"v{lanes}f{BITS[kind]}.p0"
        self._align = Value(code, str(BITS[kind] // 8), "i32", 0)

    def load(self, pointer: Value) -> list[Value]:
        """What lies there, with zeros where the mask is not set."""
        whole = self.vectors - (self.mask is not None)
        values = [pointer.offset(v * self.lanes, self.kind).load(self.kind, self.lanes) for v in range(whole)]
        if self.mask is not None:
            last = pointer.offset(whole * self.lanes, self.kind)
            zeros = self.code.const(0.0, self.kind, self.lanes)
            args = [last, self._align, self.mask, zeros]
            values.append(self.code.call("llvm.masked.load." + self._suffix, args, self.kind, self.lanes))
        return values

    def store(self, pointer: Value, values: list[Value]) -> None:
        """Stores the vectors there, except for what is masked."""
        for v, value in enumerate(values):
            place = pointer.offset(v * self.lanes, self.kind)
            if self.mask is not None and v == self.vectors - 1:
                self.code.perform("llvm.masked.store." + self._suffix, [value, place, self._align, self.mask])
            else:
                place.store(value)


def mask_of(code: Code, bits: Value, lanes: int) -> Value:
    """The first bits of an ``i64`` as a vector of ``i1``."""
    few = code.new(f"trunc i64 {bits.ref} to i{lanes}", f"i{lanes}", 0)
    return code.new(f"bitcast i{lanes} {few.ref} to <{lanes} x i1>", "i1", lanes)


def tile(session: Session, kind: str, rows: int, vectors: int, masked: bool) -> str:
    """The tile of that many rows and vectors; ``masked`` if its last vector is not whole."""
    name = f"flambeau_tile_{kind}_{rows}x{vectors}{'m' * masked}"
    if name in session.memo:
        return name
    code = Code(session.machine)
    lanes = lanes_of(session, kind)
    a, b, c, d, job = (parameter(code, n) for n in ("a", "b", "c", "d", "job"))
    steps = parameter(code, "steps", "i64")

    def field(number: int, what: str = "i64") -> Value:
        return job.offset(number, "i64").load(what)

    columns = Columns(code, kind, lanes, vectors, mask_of(code, field(MASK), lanes) if masked else None)
    a_step, b_step = field(A_STEP), field(B_STEP)
    # A pointer for every fourth row and the offsets of three others fit into the integer registers. The offsets are
    # loaded, not computed: LLVM would make each address from the one before, which is a chain longer than the sums.
    offsets: list[Value | int] = [0, *(field(A_ROWS + r) for r in range(3))]
    a_pointers = [a]
    while 4 * len(a_pointers) < rows:
        a_pointers.append(bytes_on(a_pointers[-1], field(A_ROWS + 3)))

    def step(_: Value, carried: list[Value]) -> list[Value]:
        pointers, p, sums = carried[: len(a_pointers)], carried[len(a_pointers)], carried[len(a_pointers) + 1 :]
        vectors_of_b = columns.load(p)
        new = []
        for r in range(rows):
            x = bytes_on(pointers[r // 4], offsets[r % 4]).load(kind).splat(lanes)
            new += [x.fma(y, sums[r * vectors + v]) for v, y in enumerate(vectors_of_b)]
        return [*(bytes_on(q, a_step) for q in pointers), bytes_on(p, b_step), *new]

    zero = code.const(0.0, kind, lanes)
    carried = code.loop(code.index(0), steps, 1, [*a_pointers, b, *[zero] * (rows * vectors)], step)
    sums = carried[len(a_pointers) + 1 :]

    def factor(number: int) -> Value:
        x = field(number, "double")
        return (x if kind == "double" else x.convert("fptrunc", kind)).splat(lanes)

    alpha, c_row = factor(ALPHA), field(C_ROW)
    scaled = [s * alpha for s in sums]
    addend = field(ADDEND)

    def put(add: bool) -> list[Value]:
        to, other, d_row = c, d, field(D_ROW)
        beta = factor(BETA) if add else None
        for r in range(rows):
            values = scaled[r * vectors : (r + 1) * vectors]
            if beta is not None:
                values = [old * beta + value for old, value in zip(columns.load(other), values, strict=True)]
            columns.store(to, values)
            to, other = bytes_on(to, c_row), bytes_on(other, d_row)
        return []

    code.when(addend.compare("eq", 0), [], lambda: put(False))
    code.when(addend.compare("ne", 0), [], lambda: put(True))
    return _shared(session, name, "ptr %a, ptr %b, ptr %c, ptr %d, i64 %steps, ptr %job", code)


# --- packing ---------------------------------------------------------------------------------------------------------


def pack_rows(session: Session, kind: str, vectors: int, masked: bool) -> str:
    """``pack(to, from, steps, stride, mask, width)``: copies ``steps`` rows of that many vectors, padded with zeros.

    ``stride`` and ``width`` are the bytes from row to row where they come from and where they go.
    """
    name = f"flambeau_pack_{kind}_{vectors}{'m' * masked}"
    if name in session.memo:
        return name
    code = Code(session.machine)
    lanes = lanes_of(session, kind)
    mask = mask_of(code, parameter(code, "mask", "i64"), lanes) if masked else None
    source = Columns(code, kind, lanes, vectors, mask)
    target = Columns(code, kind, lanes, vectors, None)
    stride, width = parameter(code, "stride", "i64"), parameter(code, "width", "i64")

    def step(_: Value, carried: list[Value]) -> list[Value]:
        target.store(carried[0], source.load(carried[1]))
        return [bytes_on(carried[0], width), bytes_on(carried[1], stride)]

    code.loop(code.index(0), parameter(code, "steps", "i64"), 1, [parameter(code, "to"), parameter(code, "from")], step)
    return _shared(session, name, "ptr %to, ptr %from, i64 %steps, i64 %stride, i64 %mask, i64 %width", code)


def pack_transposed(session: Session, kind: str) -> str:
    """``pack(to, from, steps, stride, count, width)``: packs the transpose of ``count`` rows of ``steps`` numbers.

    ``count`` is at most a vector's lanes; the other lanes repeat the last row. ``stride`` is the bytes from row to row of
    what is packed, ``width`` those from row to row of the panel.
    """
    name = f"flambeau_transpose_{kind}"
    if name in session.memo:
        return name
    code = Code(session.machine)
    lanes, size = lanes_of(session, kind), BITS[kind] // 8
    to, source = parameter(code, "to"), parameter(code, "from")
    steps, stride, count, width = (parameter(code, n, "i64") for n in ("steps", "stride", "count", "width"))
    last = count - 1
    rows = [source]
    for r in range(1, lanes):
        row = code.call("llvm.umin.i64", [code.index(r), last], "i64", 0)
        rows.append(bytes_on(source, row * stride))
    blocks = steps.binary("udiv", lanes)

    def block(_: Value, carried: list[Value]) -> list[Value]:
        at, target = carried
        for column in _transposed(code, kind, lanes, [bytes_on(r, at) for r in rows]):
            target.store(column)
            target = bytes_on(target, width)
        return [at + lanes * size, target]

    at, target = code.loop(code.index(0), blocks, 1, [code.index(0), to], block)

    def single(_: Value, carried: list[Value]) -> list[Value]:
        at, target = carried
        for lane, row in enumerate(rows):
            target.offset(lane, kind).store(bytes_on(row, at).load(kind))
        return [at + size, bytes_on(target, width)]

    code.loop(blocks * lanes, steps, 1, [at, target], single)
    return _shared(session, name, "ptr %to, ptr %from, i64 %steps, i64 %stride, i64 %count, i64 %width", code)


def pack_strided(session: Session, kind: str) -> str:
    """``pack(to, from, steps, stride, count, width, across)``: one by one, where no stride is that of neighbours."""
    name = f"flambeau_gather_{kind}"
    if name in session.memo:
        return name
    code = Code(session.machine)
    stride, width, across = (parameter(code, n, "i64") for n in ("stride", "width", "across"))

    def step(_: Value, carried: list[Value]) -> list[Value]:
        def copy(i: Value, inner: list[Value]) -> list[Value]:
            carried[0].offset(i, kind).store(inner[0].load(kind))
            return [bytes_on(inner[0], across)]

        code.loop(code.index(0), parameter(code, "count", "i64"), 1, [carried[1]], copy)
        return [bytes_on(carried[0], width), bytes_on(carried[1], stride)]

    code.loop(code.index(0), parameter(code, "steps", "i64"), 1, [parameter(code, "to"), parameter(code, "from")], step)
    parameters = "ptr %to, ptr %from, i64 %steps, i64 %stride, i64 %count, i64 %width, i64 %across"
    return _shared(session, name, parameters, code)


def _transposed(code: Code, kind: str, lanes: int, rows: list[Value]) -> list[Value]:
    """The columns of the square block that begins at these addresses.

    Quarters of 16 bytes from rows that lie apart are joined while they are loaded; what is left is to transpose small
    squares inside the quarters, which shuffles do without crossing them.
    """
    per = 128 // BITS[kind]  # numbers in a quarter
    columns: list[Value] = []
    for q in range(lanes // per):  # which quarter of the columns
        joined = []
        for r in range(per):
            parts = [rows[j * per + r].offset(q * per, kind).load(kind, per) for j in range(lanes // per)]
            while len(parts) > 1:
                order = range(2 * parts[0].lanes)
                parts = [shuffle(x, y, order) for x, y in zip(parts[::2], parts[1::2], strict=True)]
            joined.append(parts[0])
        columns += _squares(joined, per)
    return columns


def shuffle(x: Value, y: Value, picked) -> Value:
    """Those lanes of ``x`` followed by ``y``."""
    chosen = ", ".join(f"i32 {i}" for i in picked)
    expr = f"shufflevector {x.type} {x.ref}, {y.type} {y.ref}, <{len(picked)} x i32> <{chosen}>"
    return x.code.new(expr, x.kind, len(picked))


def _squares(rows: list[Value], per: int) -> list[Value]:
    """Transposes the ``per x per`` squares inside each quarter of ``per`` vectors."""
    lanes = rows[0].lanes

    def pick(x: Value, y: Value, order: tuple[int, ...]) -> Value:
        return shuffle(x, y, [q + (i if i < per else lanes + i - per) for q in range(0, lanes, per) for i in order])

    if per == 2:
        return [pick(*rows, (0, 2)), pick(*rows, (1, 3))]
    low, high = (0, 4, 1, 5), (2, 6, 3, 7)
    low01, high01, low23, high23 = (pick(x, y, o) for x, y in (rows[:2], rows[2:]) for o in (low, high))
    halves = (0, 1, 4, 5), (2, 3, 6, 7)
    return [pick(x, y, o) for x, y in ((low01, low23), (high01, high23)) for o in halves]
