"""Which nodes only move elements: lookups by index, pieces put together, parts written, dims turned round."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from math import inf, prod

from flambeau.core import dtypes
from flambeau.core.size import contiguous_strides, may_overlap
from flambeau.engine.cpu.specs import BagSpec, Lookup, Move, MovementSpec
from flambeau.engine.grouping import Ref, Static
from flambeau.engine.natives import FAULT, RESULT, Bound, Fault, Native, Result
from flambeau.engine.shapes import broadcast_strides, common_shape, reach
from flambeau.engine.verify import BrokenPlan

_INDICES = (dtypes.int32, dtypes.int64)
_HALF = (dtypes.float16, dtypes.bfloat16)


def _moved(form: Callable, node) -> Native | None:
    """The movement that ``node`` is; ``None`` where it is none that a native kernel takes."""
    if node.dtype.itemsize > 8 or 0 in node.shape or any(isinstance(r, Ref) and 0 in r.shape for r in node.inputs):
        return None
    return form(node)


def _verify(node, values: list[Ref], moves: list[Move]) -> None:
    """Moves read what their arguments show and write what the result has, whatever the indices within their extents are."""

    def inside(what: str, shape: tuple, strides: tuple, start: int, lookups: tuple, low: int, high: int) -> None:
        first, last = reach(shape, strides, start)
        for x in lookups:
            first, last = first + min(0, (x.extent - 1) * x.step), last + max(0, (x.extent - 1) * x.step)
        if first < low or last > high:
            raise BrokenPlan(f"natives: a move of {node.op.name} {what} elements {first} to {last} of {low} to {high}")

    for m in moves:
        if m.source >= 0:
            source = values[m.source]
            inside("reads", m.shape, m.strides[0], m.starts[0], m.lookups[: m.reads], *reach(source.shape, source.strides))
        inside("writes", m.shape, m.strides[1], m.starts[1], m.lookups[m.reads :], 0, prod(node.shape) - 1)
        for x in m.lookups:
            index = values[x.argument]
            inside("reads indices", m.shape, x.strides, 0, (), *reach(index.shape, index.strides))


def _native(node, values: list[Ref], moves: list[Move], begin: str = "", number: int | None = None) -> Native | None:
    """``number`` is the place among the plan's of the number that moves without a source write."""
    from flambeau.engine.cpu.movement import movement_kernel  # LLVM is loaded with the first plan

    folds = {m.fold for m in moves} - {""}
    if folds and (node.dtype in _HALF or node.dtype.kind not in (dtypes.INTEGRAL, dtypes.FLOATING)):
        return None
    if folds - {"add"} and not node.dtype.is_signed:
        return None
    if number is not None and (node.dtype in _HALF or node.dtype.is_complex):
        return None
    indices = {x.argument for m in moves for x in m.lookups}
    if any(r.dtype not in _INDICES if k in indices else r.dtype is not node.dtype for k, r in enumerate(values)):
        return None
    _verify(node, values, moves)
    checked = bool(indices) and node.op.checked
    spec = MovementSpec(node.dtype, prod(node.shape), len(values), begin, tuple(moves), checked, number is not None)
    kind = dtypes.int64 if node.dtype.kind == dtypes.INTEGRAL else dtypes.float64
    numbers = () if number is None else ((number, kind),)
    blind = spec._replace(checked=False)
    trusting = Native(movement_kernel, blind, _arguments(blind, values, RESULT), begin == "base", numbers)
    if not checked:
        return trusting
    facts = {Bound(_seen(values[x.argument]), x.extent, x.wraps) for m in moves for x in m.lookups}
    given = _arguments(spec, values, RESULT, FAULT)
    return Native(movement_kernel, spec, given, begin == "base", numbers, frozenset(facts), trusting)


def _arguments(spec: MovementSpec, values: list[Ref], *rest: Result | Fault) -> tuple[Ref | Result | Fault, ...]:
    """A kernel's arguments; what it does not read stands behind them, up to the number that it is made for."""
    return (*values, *rest, *[RESULT] * (spec.pointers - spec.numbers - len(values) - len(rest)))


def _seen(ref: Ref) -> tuple:
    """Which elements ``ref`` shows, in whatever order and however often."""
    dims = [(n, s) for n, s in zip(ref.shape, ref.strides, strict=True) if n > 1 and s]
    dims.sort(key=lambda d: d[1])
    joined: list[tuple[int, int]] = []
    for n, s in dims:
        if joined and joined[-1][0] * joined[-1][1] == s:
            joined[-1] = (joined[-1][0] * n, joined[-1][1])
        else:
            joined.append((n, s))
    return ref.source, ref.offset, tuple(joined), ref.dtype


def _filled(x, shape: tuple, start: int, strides: tuple, lookups: tuple = ()) -> tuple[Move, int | None]:
    """A move that writes the number ``x``, an input, and its place among the plan's numbers if it has one."""
    constant = x.value if isinstance(x, Static) else None
    zeros = (0,) * len(shape)
    return Move(-1, shape, (0, start), (zeros, strides), lookups, constant=constant), x if constant is None else None


def _plain(ref: Ref) -> bool:
    return ref.strides == contiguous_strides(ref.shape)


def _onto(node, values: list[Ref], move: Move, number: int | None = None) -> Native | None:
    """A move onto a copy of the first of ``values``, or onto its very memory."""
    base = values[0]
    if _plain(base):
        return _native(node, values, [move], "base", number)
    copy = Move(0, base.shape, (0, 0), (base.strides, contiguous_strides(base.shape)))
    return _native(node, values, [copy, move], "", number)


def _across(ref: Ref, dim: int) -> tuple[int, ...]:
    """The strides of the other dims of a result like ``ref``."""
    return tuple([0 if d == dim else s for d, s in enumerate(contiguous_strides(ref.shape))])


def _step(ref: Ref, dim: int) -> int:
    return contiguous_strides(ref.shape)[dim]


# --- by index ------------------------------------------------------------------------------------------------


def _rows(node) -> Native | None:
    """The rows of a table."""
    table, index = node.inputs
    lookup = Lookup(1, index.dtype, (*index.strides, 0), table.shape[0], table.strides[0], False)
    source = (0,) * len(index.shape) + table.strides[1:]
    move = Move(0, node.shape, (0, 0), (source, contiguous_strides(node.shape)), (lookup,), reads=1)
    return _native(node, [table, index], [move])


def _summed_rows(node) -> Native | None:
    """The rows of a table in each of some bags added up."""
    x, index = node.inputs
    if _in_registers(x):
        (bags, length), (across, step) = index.shape, index.strides
        return _bags(node, BagSpec(x.dtype, index.dtype, None, x.shape[0], x.shape[1], x.strides[0], length, bags, (across, step)))
    lookup = Lookup(1, index.dtype, (*index.strides, 0), x.shape[0], x.strides[0], False)
    shape = (*index.shape, x.shape[1])
    move = Move(0, shape, (0, 0), ((0, 0, x.strides[1]), (shape[2], 0, 1)), (lookup,), fold="add", reads=1)
    return _native(node, [x, index], [move], "zeros")


def _summed_rows_of_bags(node) -> Native | None:
    """Sums of the rows of bags of any lengths: whose bag each row is in is said by another index."""
    x, index, bags = node.inputs
    if _in_registers(x):
        (rows, width), strides = x.shape, (bags.strides[0], index.strides[0])
        return _bags(
            node, BagSpec(x.dtype, index.dtype, bags.dtype, rows, width, x.strides[0], index.shape[0], node.shape[0], strides)
        )
    lookups = (
        Lookup(1, index.dtype, (*index.strides, 0), x.shape[0], x.strides[0], False),
        Lookup(2, bags.dtype, (*bags.strides, 0), node.shape[0], node.shape[1], False),
    )
    move = Move(0, (*index.shape, x.shape[1]), (0, 0), ((0, x.strides[1]), (0, 1)), lookups, fold="add", reads=1)
    return _native(node, [x, index, bags], [move], "zeros")


def _in_registers(table: Ref) -> bool:
    """Whether there is a kernel that keeps sums of its rows in registers."""
    return table.dtype in (dtypes.float32, dtypes.float64) and table.strides[1] == 1


def _bags(node, spec: BagSpec) -> Native | None:
    from flambeau.engine.cpu.bags import bag_kernel  # LLVM is loaded with the first plan

    table, index, *numbers = node.inputs
    if any(r.dtype not in _INDICES for r in (index, *numbers)):
        return None
    facts = {Bound(_seen(index), table.shape[0], False)} | {Bound(_seen(r), spec.bags, False) for r in numbers}
    given = (table, index, *numbers, RESULT, FAULT)
    trusting = Native(bag_kernel, spec._replace(checked=False), (*given[:-1], RESULT))
    return Native(bag_kernel, spec, given, bounds=frozenset(facts), trusting=trusting)


def _added_rows(node) -> Native | None:
    """A table to which rows are added."""
    g, index = node.inputs
    width, padding = node.shape[1], node.attrs["padding_idx"]
    lookup = Lookup(1, index.dtype, (*index.strides, 0), node.shape[0], width, False)
    moves = [Move(0, g.shape, (0, 0), (g.strides, (0,) * len(index.shape) + (1,)), (lookup,), fold="add")]
    if padding >= 0:
        moves.append(Move(-1, (width,), (0, padding * width), ((0,), (1,)), constant=0))
    return _native(node, [g, index], moves, "zeros")


def _lookups(shape: tuple, strides: tuple, indices: list, first: int) -> tuple[tuple, list[Lookup], tuple]:
    """What indexing a geometry means: the result's shape, the lookups, and the strides of what is not looked up."""
    at = [d for d, i in enumerate(indices) if i is not None]
    block = common_shape(*[indices[d].shape for d in at])
    rest = [d for d in range(len(shape)) if d not in at]
    lead = [d for d in rest if d < at[0]] if at[-1] - at[0] == len(at) - 1 else []
    tail = [d for d in rest if d not in lead]
    result = tuple([shape[d] for d in lead]) + block + tuple([shape[d] for d in tail])
    found = []
    for n, d in enumerate(at):
        over = broadcast_strides(indices[d].shape, indices[d].strides, block)
        walked = (0,) * len(lead) + over + (0,) * len(tail)
        found.append(Lookup(first + n, indices[d].dtype, walked, shape[d], strides[d], True))
    others = tuple([strides[d] for d in lead]) + (0,) * len(block) + tuple([strides[d] for d in tail])
    return result, found, others


def _indexed(node) -> Native | None:
    x, *indices = node.inputs
    shape, lookups, others = _lookups(x.shape, x.strides, indices, 1)
    move = Move(0, shape, (0, 0), (others, contiguous_strides(shape)), tuple(lookups), reads=len(lookups))
    return _native(node, [x, *[i for i in indices if i is not None]], [move])


def _put(node) -> Native | None:
    base, values, *indices = node.inputs
    shape, lookups, others = _lookups(base.shape, contiguous_strides(base.shape), indices, 2)
    source = broadcast_strides(values.shape, values.strides, shape)
    move = Move(1, shape, (0, 0), (source, others), tuple(lookups), fold="add" if node.attrs["accumulate"] else "")
    return _onto(node, [base, values, *[i for i in indices if i is not None]], move)


def _selected(node) -> Native | None:
    x, index = node.inputs
    dim = node.attrs["dim"]
    if not x.shape:
        return None
    lookup = Lookup(1, index.dtype, _only(len(x.shape), dim, index), x.shape[dim], x.strides[dim], False)
    source = tuple([0 if d == dim else s for d, s in enumerate(x.strides)])
    move = Move(0, node.shape, (0, 0), (source, contiguous_strides(node.shape)), (lookup,), reads=1)
    return _native(node, [x, index], [move])


def _only(ndim: int, dim: int, index: Ref) -> tuple[int, ...]:
    """The strides of an index of at most one dim, walked along ``dim``."""
    return tuple([index.strides[0] if d == dim and index.shape else 0 for d in range(ndim)])


def _slices(fold: str, node) -> Native | None:
    """Whole slices written or added."""
    base, index, source = node.inputs
    dim = node.attrs["dim"]
    if not base.shape or not source.shape:
        return None
    lookup = Lookup(1, index.dtype, _only(len(base.shape), dim, index), base.shape[dim], _step(base, dim), False)
    move = Move(2, source.shape, (0, 0), (source.strides, _across(base, dim)), (lookup,), fold=fold)
    return _onto(node, [base, index, source], move)


def _gathered(node) -> Native | None:
    x, index = node.inputs
    dim = node.attrs["dim"]
    if not x.shape or not index.shape:
        return None
    lookup = Lookup(1, index.dtype, index.strides, x.shape[dim], x.strides[dim], False)
    source = tuple([0 if d == dim else s for d, s in enumerate(x.strides)])
    move = Move(0, index.shape, (0, 0), (source, contiguous_strides(node.shape)), (lookup,), reads=1)
    return _native(node, [x, index], [move])


def _scattered(fold: str, node) -> Native | None:
    base, index, source = node.inputs
    dim = node.attrs["dim"]
    if not base.shape or not index.shape:
        return None
    lookup = Lookup(1, index.dtype, index.strides, base.shape[dim], _step(base, dim), False)
    if not isinstance(source, Ref):
        return _onto(node, [base, index], *_filled(source, index.shape, 0, _across(base, dim), (lookup,)))
    if not source.shape:
        return None
    move = Move(2, index.shape, (0, 0), (source.strides, _across(base, dim)), (lookup,), fold=fold)
    return _onto(node, [base, index, source], move)


def _reduced(node) -> Native | None:
    """What is scattered becomes one with what is there, or with what else is scattered there."""
    base, index, source = node.inputs
    dim, fold = node.attrs["dim"], _FOLDS.get(node.attrs["reduce"])
    if fold is None or not base.shape or not index.shape or not source.shape:
        return None
    if node.attrs["include_self"]:
        return _scattered(fold, node)
    lookup = Lookup(1, index.dtype, index.strides, base.shape[dim], _step(base, dim), False)
    across, strides = _across(base, dim), contiguous_strides(base.shape)
    info = None if node.dtype.kind == dtypes.FLOATING else dtypes.iinfo(node.dtype)
    nothing = {"add": 0, "max": info.min if info else -inf, "min": info.max if info else inf}[fold]
    moves = [
        Move(0, base.shape, (0, 0), (base.strides, strides)),
        Move(-1, index.shape, (0, 0), ((0,) * len(across), across), (lookup,), constant=nothing),
        Move(2, index.shape, (0, 0), (source.strides, across), (lookup,), fold=fold),
    ]
    return _native(node, [base, index, source], moves)


_FOLDS = {"sum": "add", "amax": "max", "amin": "min"}


def _filled_slices(node) -> Native | None:
    base, index, value = node.inputs
    dim = node.attrs["dim"]
    if not base.shape or isinstance(value, Ref):
        return None
    count = index.shape[0] if index.shape else 1
    shape = tuple([count if d == dim else n for d, n in enumerate(base.shape)])
    lookup = Lookup(1, index.dtype, _only(len(shape), dim, index), base.shape[dim], _step(base, dim), True)
    return _onto(node, [base, index], *_filled(value, shape, 0, _across(base, dim), (lookup,)))


def _one_hot(node) -> Native | None:
    (index,), classes = node.inputs, node.attrs["classes"]
    lookup = Lookup(0, index.dtype, index.strides, classes, 1, False)
    strides = contiguous_strides(node.shape)[:-1]
    move = Move(-1, index.shape, (0, 0), ((0,) * len(strides), strides), (lookup,), constant=1)
    return _native(node, [index], [move], "zeros")


# --- along strides -------------------------------------------------------------------------------------------


def _joined(node) -> Native | None:
    dim, strides = node.attrs["dim"], contiguous_strides(node.shape)
    moves: list[Move] = []
    values: list[Ref] = []
    start = 0
    for x, n in zip(node.inputs, node.attrs["sizes"], strict=True):
        if n:
            moves.append(Move(len(values), x.shape, (0, start * strides[dim]), (x.strides, strides)))
            values.append(x)
            start += n
    return _native(node, values, moves)


def _stacked(node) -> Native | None:
    dim, strides = node.attrs["dim"], contiguous_strides(node.shape)
    inner = strides[:dim] + strides[dim + 1 :]
    moves = [Move(k, x.shape, (0, k * strides[dim]), (x.strides, inner)) for k, x in enumerate(node.inputs)]
    return _native(node, node.inputs, moves)


def _padded_sequences(node) -> Native | None:
    """All of the result filled with the number, then the sequences in their places."""
    a, strides = node.attrs, contiguous_strides(node.shape)
    row, step = strides[:2] if a["batch_first"] else strides[1::-1]
    fill = Move(-1, tuple(node.shape), (0, 0), ((0,) * len(strides), strides), constant=a["value"])
    moves = [fill]
    for k, (x, n) in enumerate(zip(node.inputs, a["sizes"], strict=True)):
        start = k * row + (max(a["sizes"]) - n if a["left"] else 0) * step
        moves.append(Move(k, x.shape, (0, start), (x.strides, (step, *strides[2:]))))
    return _native(node, node.inputs, moves)


def _scattered_part(node) -> Native | None:
    (g,), a = node.inputs, node.attrs
    move = Move(0, g.shape, (0, a["offset"]), (g.strides, tuple(a["strides"])), fold="add" if a["overlaps"] else "")
    return _native(node, [g], [move], "zeros")


def _written(node) -> Native | None:
    base, value = node.inputs
    a = node.attrs
    shape = tuple(a["shape"])
    if a["dtype"] is not node.dtype or may_overlap(
        shape, a["strides"]
    ):  # what is left in the end would be up to the kernel's order
        return None
    source = broadcast_strides(value.shape, value.strides, shape)
    return _onto(node, [base, value], Move(1, shape, (0, a["offset"]), (source, tuple(a["strides"]))))


def _padded(node) -> Native | None:
    """All of the result filled with the number, then the input in its place."""
    (x, value), pad = node.inputs, node.attrs["pad"]
    target = contiguous_strides(node.shape)
    fill, number = _filled(value, node.shape, 0, target)
    pairs = [(0, 0)] * (len(x.shape) - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    part = tuple([n + min(a, 0) + min(b, 0) for n, (a, b) in zip(x.shape, pairs, strict=True)])
    if any(n <= 0 for n in part):
        return None
    start = sum(max(-a, 0) * s for (a, _), s in zip(pairs, x.strides, strict=True))
    to = sum(max(a, 0) * s for (a, _), s in zip(pairs, target, strict=True))
    return _native(node, [x], [fill, Move(0, part, (start, to), (x.strides, target))], "", number)


def _border(n: int, before: int, after: int, mode: str) -> list[tuple[int, int, int, int]] | None:
    """A padded dim as runs: (where it begins, how long it is, the first element that is there, the step to the next)."""
    if min(before, after) < 0:
        return None
    runs = [(before, n, 0, 1)]
    if mode == "replicate":
        return [*runs, (0, before, 0, 0), (before + n, after, n - 1, 0)]
    if max(before, after) >= n + (mode == "circular"):
        return None
    if mode == "circular":
        return [*runs, (0, before, n - before, 1), (before + n, after, 0, 1)]
    return [*runs, (0, before, before, -1), (before + n, after, n - 2, -1)]


def _mapped_moves(shape: tuple, strides: tuple, wide: tuple, pairs: tuple, mode: str, back: bool) -> list[Move] | None:
    """The moves between the elements of ``shape`` and their places in a padded geometry with strides ``wide``."""
    lead = len(shape) - len(pairs)
    runs: list = [[(0, n, 0, 1)] for n in shape[:lead]]
    runs += [_border(n, a, b, mode) for n, (a, b) in zip(shape[lead:], pairs, strict=True)]
    if None in runs:
        return None
    moves = []
    for chosen in product(*runs):
        part = tuple([length for _, length, _, _ in chosen])
        if 0 in part:
            continue
        inner = sum(first * s for (_, _, first, _), s in zip(chosen, strides, strict=True))
        outer = sum(begin * s for (begin, _, _, _), s in zip(chosen, wide, strict=True))
        walk = tuple([step * s for (_, _, _, step), s in zip(chosen, strides, strict=True)])
        moves.append(Move(0, part, (outer, inner), (wide, walk), fold="add") if back
                     else Move(0, part, (inner, outer), (walk, wide)))  # fmt: skip
    return moves


def _mapped(node) -> Native | None:
    (x,), a = node.inputs, node.attrs
    moves = _mapped_moves(x.shape, x.strides, contiguous_strides(node.shape), a["pairs"], a["mode"], back=False)
    return None if moves is None else _native(node, [x], moves)


def _mapped_back(node) -> Native | None:
    (g,), a = node.inputs, node.attrs
    moves = _mapped_moves(node.shape, contiguous_strides(node.shape), g.strides, a["pairs"], a["mode"], back=True)
    return None if moves is None else _native(node, [g], moves, "zeros")


def _flipped(node) -> Native | None:
    (x,), dims = node.inputs, node.attrs["dims"]
    start = sum((x.shape[d] - 1) * x.strides[d] for d in dims)
    source = tuple([-s if d in dims else s for d, s in enumerate(x.strides)])
    return _native(node, [x], [Move(0, x.shape, (start, 0), (source, contiguous_strides(x.shape)))])


def _rolled(node) -> Native | None:
    (x,), shifts, dims = node.inputs, node.attrs["shifts"], node.attrs["dims"]
    shape, strides = x.shape, x.strides
    if dims is None:
        if not _plain(x):
            return None
        shape, strides, dims = (prod(shape),), (1,), (0,)
    target = contiguous_strides(shape)
    total: dict[int, int] = {}
    for shift, d in zip(shifts, dims, strict=True):
        total[d] = (total.get(d, 0) + shift) % shape[d]
    moves = []
    for wrapped in product((False, True), repeat=len(total)):
        part, starts = list(shape), [0, 0]
        for (d, shift), wraps in zip(total.items(), wrapped, strict=True):
            part[d] = shift if wraps else shape[d] - shift
            starts[0] += (shape[d] - shift) * strides[d] if wraps else 0
            starts[1] += 0 if wraps else shift * target[d]
        if 0 not in part:
            moves.append(Move(0, tuple(part), (starts[0], starts[1]), (strides, target)))
    return _native(node, [x], moves)


_FORMS: dict[str, Callable] = {
    "_embedding": _rows,
    "_embedding_grad": _added_rows,
    "_bag_sums": _summed_rows,
    "_sums_of_bags": _summed_rows_of_bags,
    "_index": _indexed,
    "_index_put": _put,
    "index_select": _selected,
    "index_add": partial(_slices, "add"),
    "index_copy": partial(_slices, ""),
    "gather": _gathered,
    "_scatter": partial(_scattered, ""),
    "scatter_reduce": _reduced,
    "scatter_add": partial(_scattered, "add"),
    "cat": _joined,
    "stack": _stacked,
    "_pad_sequence": _padded_sequences,
    "_strided_scatter": _scattered_part,
    "write": _written,
    "index_fill": _filled_slices,
    "_one_hot": _one_hot,
    "constant_pad_nd": _padded,
    "_mapped_pad": _mapped,
    "_mapped_pad_grad": _mapped_back,
    "flip": _flipped,
    "roll": _rolled,
}

FORMS = {name: partial(_moved, form) for name, form in _FORMS.items()}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""
