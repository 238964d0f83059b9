"""Geometry: shapes split and joined, and the strides that show the same elements in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from math import prod

from flambeau.core import dtypes
from flambeau.core.size import contiguous_strides
from flambeau.engine.loops import Access, Instr, Loop


def is_whole(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements follow each other in memory in row-major order."""
    return all(n == 1 or s == t for n, s, t in zip(shape, strides, contiguous_strides(shape), strict=True))


def reach(shape: Sequence[int], strides: Sequence[int], start: int = 0) -> tuple[int, int]:
    """The first and the last place in memory that a geometry shows, in elements; nothing of it may have extent 0."""
    steps = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    return start + sum([s for s in steps if s < 0]), start + sum([s for s in steps if s > 0])


def broadcast_strides(shape: tuple[int, ...], strides: tuple[int, ...], form: tuple[int, ...]) -> tuple[int, ...]:
    """The strides that show a geometry broadcast to ``form``; ``ValueError`` where it does not broadcast."""
    lead = len(form) - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, form[lead:], strict=True)):
        raise ValueError(f"{shape} does not broadcast to {form}")
    return (0,) * lead + tuple([0 if n == 1 else s for n, s in zip(shape, strides, strict=True)])


def common_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """What shapes that do broadcast against each other broadcast to."""
    rank = max([len(shape) for shape in shapes])
    result: list[int] = [1] * rank
    for shape in shapes:
        for d, n in enumerate(shape, rank - len(shape)):
            if n != 1:
                result[d] = n
    return tuple(result)


def restride(shape: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...] | None:
    """The strides that show the elements of a geometry, in their order, in the shape ``new``; ``None`` if none do."""
    if new == shape and 1 not in shape:
        return strides
    runs: list[tuple[int, int]] = []  # extent and last stride of neighbours that are walked as one
    for n, s in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if runs and runs[-1][1] == n * s:
            n *= runs.pop()[0]
        runs.append((n, s))
    result = []
    extent = stride = 1
    for n in reversed(new):
        if n == 1:
            result.append(0)
            continue
        if extent == 1 and runs:
            extent, stride = runs.pop()
        if extent % n:
            return None
        result.append(stride)
        extent, stride = extent // n, stride * n
    return None if runs or extent != 1 else tuple(result[::-1])


def split_strides(shape: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of the elements seen in the shape ``new``, which only splits dims: that can always be."""
    split = restride(shape, strides, new)
    assert split is not None
    return split


def joined(
    shape: tuple[int, ...], marked: Sequence[bool], strides: Sequence[tuple[int, ...]] | None
) -> tuple[tuple[int, ...], frozenset[int]]:
    """``shape`` without dims of extent 1, and the numbers of the ``marked`` dims in it.

    Neighbours that are walked as one by everything with ``strides`` are joined, marked ones with marked ones.
    """
    result: list[int] = []
    flags: list[bool] = []
    last = -1
    for d, n in enumerate(shape):
        if n == 1:
            continue
        if strides is not None and flags and flags[-1] == marked[d] and all([s[last] == s[d] * n for s in strides]):
            result[-1] *= n
        else:
            result.append(n)
            flags.append(marked[d])
        last = d
    return tuple(result), frozenset([d for d, flag in enumerate(flags) if flag])


def refined(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """The coarsest shape that splits the dims of both, shapes of as many elements without dims of extent 1."""
    if a == b:
        return a
    sizes = sorted({*_sizes(a), *_sizes(b)}, reverse=True)
    if any([m % n for m, n in pairwise(sizes)]):
        return None
    return tuple([m // n for m, n in pairwise(sizes)])


def _sizes(shape: tuple[int, ...]) -> list[int]:
    """The number of elements of the last dims: of all, ..., of the last one, of none."""
    sizes = [1]
    for n in reversed(shape):
        sizes.append(sizes[-1] * n)
    return sizes


def split_dims(shape: tuple[int, ...], dims: Collection[int], new: tuple[int, ...]) -> frozenset[int]:
    """Which dims of ``new``, which splits ``shape``, come from ``dims``."""
    result = []
    d = len(shape) - 1
    extent = 1
    for e in reversed(range(len(new))):
        extent *= new[e]
        if d in dims:
            result.append(e)
        if extent == shape[d]:
            d, extent = d - 1, 1
    return frozenset(result)


def split_kept(shape: tuple[int, ...], dims: Collection[int], new: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with the dims that are not in ``dims`` split into those of ``new``."""
    parts = list(new[::-1])
    result: list[int] = []
    for d, n in enumerate(shape):
        if d in dims:
            result.append(n)
        else:
            extent = 1
            while extent < n:
                result.append(parts.pop())
                extent *= result[-1]
    return tuple(result)


def collapse(loop: Loop, places: Sequence[tuple[int, ...]] = ()) -> Loop:
    """A loop with dims of size 1 dropped and neighbours joined that every access walks as one.

    ``places`` are strides: the number of an ``index`` instruction says which of them tells a point's place.
    """
    boundary = len(loop.shape) - loop.reduce if loop.reduce >= 0 else -loop.reduce
    walks = [*(a.strides for a in loop.inputs), *(a.strides for _, a in loop.outputs), *places]
    groups: list[list[int]] = []  # dims that are walked as one
    sides: list[int] = []  # 0 before the boundary, 1 in the block that ends at it, 2 behind it
    for d, extent in enumerate(loop.shape):
        side = 2 if d >= boundary else int(d in loop.blocked)
        if extent == 1 and side != 1:
            continue
        if groups and sides[-1] == side:
            last = groups[-1][-1]
            if all([strides[last] == strides[d] * loop.shape[d] for strides in walks]):
                groups[-1].append(d)
                continue
        groups.append([d])
        sides.append(side)
    reduced = 2 if loop.reduce > 0 else 0
    if loop.reduce and reduced not in sides:  # only dims of size 1 are reduced: keep one of them
        groups.insert(len(groups) if reduced else 0, [boundary if reduced else boundary - 1])
        sides.insert(len(sides) if reduced else 0, reduced)
    if not groups:
        groups, sides = [[]], [0]
    shape = tuple([prod([loop.shape[d] for d in dims]) for dims in groups])

    def over_groups(strides: tuple[int, ...]) -> tuple[int, ...]:
        return tuple([strides[dims[-1]] if dims else 0 for dims in groups])

    inputs = tuple([Access(a.dtype, over_groups(a.strides)) for a in loop.inputs])
    outputs = tuple([(v, Access(a.dtype, over_groups(a.strides))) for v, a in loop.outputs])
    reduce = 0 if loop.reduce == 0 else sides.count(2) if reduced else -sides.count(0)
    made = Loop(shape, reduce, inputs, loop.scalars, loop.body, outputs, sides.count(1))
    return _located(made, [over_groups(p) for p in places]) if places else made


def _located(loop: Loop, places: Sequence[tuple[int, ...]]) -> Loop:
    """``loop`` with places computed from the indices along its dims."""
    body: list[Instr] = []
    moved: list[int] = []  # new number of every instruction

    def emit(op: str, args: tuple = (), const: int | None = None) -> int:
        body.append(Instr(op, dtypes.int64, args, const))
        return len(body) - 1

    for op, dtype, args, const in loop.body:
        if op != "index":
            body.append(Instr(op, dtype, tuple([moved[a] for a in args]), const))
            moved.append(len(body) - 1)
            continue
        place = None
        for d, stride in enumerate(places[const]):  # type: ignore[index]
            if stride:
                term = emit("index", (), d)
                term = term if stride == 1 else emit("mul", (term, emit("const", (), stride)))
                place = term if place is None else emit("add", (place, term))
        moved.append(emit("const", (), 0) if place is None else place)
    outputs = tuple([(moved[v], access) for v, access in loop.outputs])
    return loop._replace(body=tuple(body), outputs=outputs)
