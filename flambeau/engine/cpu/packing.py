"""Copies of operands in the order in which register tiles read them. Each part is compiled when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import BITS, Code, Value
from flambeau.engine.cpu.frame import bytes_on, lanes_of, parameter, shared
from flambeau.engine.cpu.tiles import Columns, mask_of, masked_load, masked_store, shuffle


def pack_rows(session: Session, kind: str, vectors: int, masked: bool) -> str:
    """``pack(to, from, steps, stride, mask, width)``: copies ``steps`` rows of that many vectors, padded with zeros.

    ``stride`` and ``width`` are the bytes from row to row where they come from and where they go.
    """
    lanes = lanes_of(session, kind)

    def write(code: Code) -> None:
        mask = mask_of(parameter(code, "mask", "i64"), lanes) if masked else None
        source, target = (Columns(code, kind, lanes, vectors, m) for m in (mask, None))
        stride, width = parameter(code, "stride", "i64"), parameter(code, "width", "i64")

        def step(_: Value, carried: list[Value]) -> list[Value]:
            target.store(carried[0], source.load(carried[1]))
            return [bytes_on(carried[0], width), bytes_on(carried[1], stride)]

        pointers = [parameter(code, "to"), parameter(code, "from")]
        code.loop(code.index(0), parameter(code, "steps", "i64"), 1, pointers, step)

    parameters = "ptr %to, ptr %from, i64 %steps, i64 %stride, i64 %mask, i64 %width"
    return shared(session, f"flambeau_pack_{kind}_{vectors}{'m' * masked}", parameters, write)


def pack_panels(session: Session, kind: str, rows: int) -> str:
    """``pack(to, from, steps, stride, panels, width)``: copies ``steps`` rows of ``panels * rows`` numbers.

    They go to panels, each ``width`` bytes from the one before, in which the steps follow each other without gaps.
    """

    def write(code: Code) -> None:
        stride, panels, width = (parameter(code, n, "i64") for n in ("stride", "panels", "width"))
        size = rows * BITS[kind] // 8

        def step(_: Value, carried: list[Value]) -> list[Value]:
            def copy(_: Value, inner: list[Value]) -> list[Value]:
                inner[0].store(inner[1].load(kind, rows))
                return [bytes_on(inner[0], width), bytes_on(inner[1], size)]

            code.loop(code.index(0), panels, 1, carried, copy)
            return [bytes_on(carried[0], size), bytes_on(carried[1], stride)]

        pointers = [parameter(code, "to"), parameter(code, "from")]
        code.loop(code.index(0), parameter(code, "steps", "i64"), 1, pointers, step)

    parameters = "ptr %to, ptr %from, i64 %steps, i64 %stride, i64 %panels, i64 %width"
    return shared(session, f"flambeau_panels_{kind}_{rows}", parameters, write)


def pack_strided(session: Session, kind: str) -> str:
    """``pack(to, from, steps, stride, count, width, across)``: one by one, where no stride is that of neighbours."""

    def write(code: Code) -> None:
        stride, width, across = (parameter(code, n, "i64") for n in ("stride", "width", "across"))

        def step(_: Value, carried: list[Value]) -> list[Value]:
            def copy(i: Value, inner: list[Value]) -> list[Value]:
                carried[0].offset(i, kind).store(inner[0].load(kind))
                return [bytes_on(inner[0], across)]

            code.loop(code.index(0), parameter(code, "count", "i64"), 1, [carried[1]], copy)
            return [bytes_on(carried[0], width), bytes_on(carried[1], stride)]

        pointers = [parameter(code, "to"), parameter(code, "from")]
        code.loop(code.index(0), parameter(code, "steps", "i64"), 1, pointers, step)

    parameters = "ptr %to, ptr %from, i64 %steps, i64 %stride, i64 %count, i64 %width, i64 %across"
    return shared(session, f"flambeau_gather_{kind}", parameters, write)


def pack_transposed(session: Session, kind: str) -> str:
    """``pack(to, from, steps, stride, count, width)``: packs the transpose of ``count`` rows of ``steps`` numbers.

    That is done for as many of them as a vector has lanes at a time; where there are fewer, the other lanes repeat the last
    row. ``stride`` is the bytes from row to row of what is packed, ``width`` those from row to row of the panel.
    """
    lanes, size = lanes_of(session, kind), BITS[kind] // 8

    def write(code: Code) -> None:
        steps, stride, count, width = (parameter(code, n, "i64") for n in ("steps", "stride", "count", "width"))
        blocks = steps.binary("udiv", lanes)

        def strip(first: Value, carried: list[Value]) -> list[Value]:
            to, source = carried
            last = count - 1 - first
            rows = [source]
            for r in range(1, lanes):
                row = code.call("llvm.umin.i64", [code.index(r), last], "i64", 0)
                rows.append(bytes_on(source, row * stride))

            def block(_: Value, carried: list[Value]) -> list[Value]:
                at, target = carried
                for column in _transposed(kind, lanes, [bytes_on(r, at) for r in rows]):
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
            return [to.offset(lanes, kind), bytes_on(source, stride * lanes)]

        code.loop(code.index(0), count, lanes, [parameter(code, "to"), parameter(code, "from")], strip)

    parameters = "ptr %to, ptr %from, i64 %steps, i64 %stride, i64 %count, i64 %width"
    return shared(session, f"flambeau_transpose_{kind}", parameters, write)


def _transposed(kind: str, lanes: int, rows: list[Value]) -> list[Value]:
    """The columns of the square block that begins at these addresses.

    Quarters of 16 bytes from rows that lie apart are joined while they are loaded; what is left is to transpose small
    squares inside the quarters, which shuffles do without crossing them.
    """
    per = 128 // BITS[kind]  # numbers in a quarter
    columns: list[Value] = []
    for q in range(lanes // per):  # which quarter of the columns
        joined = []
        for r in range(per):
            pieces = [rows[j * per + r].offset(q * per, kind).load(kind, per) for j in range(lanes // per)]
            while len(pieces) > 1:
                order = range(2 * pieces[0].lanes)
                pieces = [shuffle(x, y, order) for x, y in zip(pieces[::2], pieces[1::2], strict=True)]
            joined.append(pieces[0])
        columns += _squares(joined, per)
    return columns


def _squares(rows: list[Value], per: int) -> list[Value]:
    """Transposes the ``per x per`` squares inside each quarter of ``per`` vectors."""
    lanes = rows[0].lanes

    def pick(x: Value, y: Value, order: tuple[int, ...]) -> Value:
        return shuffle(x, y, [q + (i if i < per else lanes + i - per) for q in range(0, lanes, per) for i in order])

    if per == 2:
        return [pick(rows[0], rows[1], order) for order in ((0, 2), (1, 3))]
    low, high = (0, 4, 1, 5), (2, 6, 3, 7)
    low01, high01, low23, high23 = (pick(rows[i], rows[i + 1], o) for i in (0, 2) for o in (low, high))
    halves = (0, 1, 4, 5), (2, 3, 6, 7)
    return [pick(x, y, o) for x, y in ((low01, low23), (high01, high23)) for o in halves]


# --- images ------------------------------------------------------------------------------------------------------------


_PLANES = ("channels", "to_channel", "channel", "rows", "first", "last", "stride", "columns", "low", "high", "across")


def pack_planes(session: Session, kind: str, step: int | None) -> str:
    """``pack(to, from, *_PLANES)``: a plane of each of some channels, with zeros around it.

    Writes ``rows * columns`` numbers without gaps for each of ``channels``, ``to_channel`` bytes from one to the next. Row
    ``i`` comes from ``from + i * stride`` bytes and is zero outside of ``first <= i < last``; its number ``u`` lies
    ``u * step`` elements further on (``across`` bytes if ``step`` is ``None``) and is zero outside of ``low <= u < high``.
    Channels are ``channel`` bytes apart. Memory where zeros stand for it is not touched.
    """
    lanes = lanes_of(session, kind)

    def write(code: Code) -> None:
        channels, to_channel, channel, rows, first, last, stride, columns, low, high, across = (
            parameter(code, n, "i64") for n in _PLANES
        )
        zero = code.index(0)
        top = code.call("llvm.smax.i64", [code.call("llvm.smin.i64", [first, rows], "i64", 0), zero], "i64", 0)
        bottom = code.call("llvm.smax.i64", [code.call("llvm.smin.i64", [last, rows], "i64", 0), top], "i64", 0)
        width = columns * (BITS[kind] // 8)

        def within(begin: Value, end: Value, at: Value) -> Value:
            return at.compare("sge", begin.splat(lanes)) & at.compare("slt", end.splat(lanes))

        def along(u: Value) -> Value:
            return u.splat(lanes) + code.vector(range(lanes), "i64")

        def one(_: Value, carried: list[Value]) -> list[Value]:
            to, source = carried

            def strip(u: Value, _: list[Value]) -> list[Value]:
                """One vector, in the same place, of all rows: so its masks are made once."""
                written = along(u).compare("slt", columns.splat(lanes))
                read = reader(u)
                nothing = code.const(0.0, kind, lanes)

                def blank(_: Value, at: list[Value]) -> list[Value]:
                    masked_store(at[0], nothing, written)
                    return [bytes_on(at[0], width)]

                def copy(_: Value, at: list[Value]) -> list[Value]:
                    masked_store(at[0], read(at[1]), written)
                    return [bytes_on(at[0], width), bytes_on(at[1], stride)]

                above = code.loop(zero, top, 1, [to.offset(u, kind)], blank)
                inner = code.loop(top, bottom, 1, [*above, bytes_on(source, top * stride)], copy)
                code.loop(bottom, rows, 1, inner[:1], blank)
                return []

            code.loop(zero, columns, lanes, [], strip)
            return [bytes_on(to, to_channel), bytes_on(source, channel)]

        def reader(u: Value) -> Callable[[Value], Value]:
            mask = within(low, high, along(u))
            if step == 1:
                return lambda source: masked_load(source.offset(u, kind), kind, mask)
            if step == 2:
                # Each number is loaded with the one after it, but for the last one.
                masks = [within(low * 2, high * 2 - 1, along(u * 2 + half)) for half in (0, lanes)]

                def pairs(source: Value) -> Value:
                    halves = [masked_load(source.offset(u * 2 + i * lanes, kind), kind, m) for i, m in enumerate(masks)]
                    return shuffle(halves[0], halves[1], range(0, 2 * lanes, 2))

                return pairs
            offsets = along(u) * across.splat(lanes)
            return lambda source: _gather(bytes_on(source, offsets), kind, mask)

        code.loop(zero, channels, 1, [parameter(code, "to"), parameter(code, "from")], one)

    parameters = ", ".join(["ptr %to, ptr %from", *(f"i64 %{n}" for n in _PLANES)])
    return shared(session, f"flambeau_planes_{kind}_{step or 'n'}", parameters, write)


def _gather(pointers: Value, kind: str, mask: Value) -> Value:
    code, lanes = pointers.code, mask.lanes
    args = [pointers, Value(code, str(BITS[kind] // 8), "i32", 0), mask, code.const(0.0, kind, lanes)]
    return code.call(f"llvm.masked.gather.v{lanes}f{BITS[kind]}.v{lanes}p0", args, kind, lanes)


def spread(session: Session, kind: str, step: int | None) -> str:
    """``spread(to, from, rows, columns, down, across)``: numbers without gaps to places that lie apart.

    Rows go ``down`` bytes from one to the next, the numbers in them ``step`` elements (``across`` bytes if it is ``None``).
    """
    lanes = lanes_of(session, kind)

    def write(code: Code) -> None:
        rows, columns, down, across = (parameter(code, n, "i64") for n in ("rows", "columns", "down", "across"))

        def single(to: Value, source: Value) -> None:
            def copy(i: Value, inner: list[Value]) -> list[Value]:
                inner[0].store(source.offset(i, kind).load(kind))
                return [bytes_on(inner[0], across)]

            code.loop(code.index(0), columns, 1, [to], copy)

        def vectors(to: Value, source: Value, step: int) -> None:
            def vector(u: Value, _: list[Value]) -> list[Value]:
                mask = along(u).compare("slt", columns.splat(lanes))
                numbers = masked_load(source.offset(u, kind), kind, mask)
                for i in range(step):  # each part of the vector fills a vector of every step-th place
                    picked = [(i * lanes + lane) // step for lane in range(lanes)]
                    places = code.vector([(i * lanes + lane) % step == 0 for lane in range(lanes)], "i1")
                    there = shuffle(mask, mask, picked) & places
                    masked_store(to.offset(u * step + i * lanes, kind), shuffle(numbers, numbers, picked), there)
                return []

            code.loop(code.index(0), columns, lanes, [], vector)

        def along(u: Value) -> Value:
            return u.splat(lanes) + code.vector(range(lanes), "i64")

        def row(_: Value, carried: list[Value]) -> list[Value]:
            to, source = carried
            if step is None:
                single(to, source)
            else:
                vectors(to, source, step)
            return [bytes_on(to, down), source.offset(columns, kind)]

        code.loop(code.index(0), rows, 1, [parameter(code, "to"), parameter(code, "from")], row)

    parameters = "ptr %to, ptr %from, i64 %rows, i64 %columns, i64 %down, i64 %across"
    return shared(session, f"flambeau_spread_{kind}_{step or 'n'}", parameters, write)
