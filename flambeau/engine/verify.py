"""What must hold of a plan between the passes that make it. Loops have a verifier of their own (:mod:`flambeau.engine.loops`).

Native code is not looked after by anybody: what is proved here is all that keeps it inside of its memory. So it is proved of
every plan. One that is broken is not run, and the interpreter computes its trace; where ``config.strict`` asks for it, as the
tests do, it is an error, which names the pass that has gone wrong, and where.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

from flambeau.engine.graph import PROJECT
from flambeau.engine.grouping import Group, Ref
from flambeau.engine.shapes import is_whole, reach
from flambeau.engine.templates import Part

if TYPE_CHECKING:
    from flambeau.engine.lowered import Lowered
    from flambeau.engine.plan import Plan


class BrokenPlan(AssertionError):
    """A pass has made something that does not make sense."""


class OutOfBounds(BrokenPlan):
    """Something looks beyond its memory. In a trace that has not run yet that may be the program's: a storage was made smaller."""


def verify_nodes(lowered: Lowered, order: Iterable[int]) -> None:
    """After the expansion: who is read comes first, and what is seen of it lies inside of its memory."""
    known: set[int] = set()
    for i in order:
        node = lowered.nodes[i]
        for ref in node.inputs:
            if not isinstance(ref, Ref):
                continue
            source = lowered.nodes[ref.source] if ref.source >= 0 else None
            if source is not None and ref.source not in known and not source.is_view:
                raise BrokenPlan(f"expansion: node {i} ({node.op.name}) reads node {ref.source}, which comes later or not at all")
            _inside("expansion", f"node {i} ({node.op.name})", lowered, ref.source, ref.dtype, ref.offset, ref.shape, ref.strides)
            if node.native and not _broadcasts(ref.shape, node.form):
                raise BrokenPlan(
                    f"expansion: node {i} ({node.op.name}) of shape {node.form} reads {ref.source} in the shape {ref.shape}"
                )
        known.add(i)


def _broadcasts(shape: tuple[int, ...], form: tuple[int, ...]) -> bool:
    """Whether a loop over ``form`` reads a value of that shape element by element."""
    extra = len(form) - len(shape)
    return extra >= 0 and all([n == 1 or n == m for n, m in zip(shape, form[extra:], strict=True)])


def verify_groups(lowered: Lowered, order: Iterable[int]) -> None:
    """After the grouping: each node runs once, after what it needs, and loops stay inside of the memory they read."""
    placed = [i for group in lowered.groups for i in group.members]
    lost = {i for i in order if not lowered.nodes[i].is_view}.difference(placed)
    if lost or len(placed) != len(set(placed)):
        raise BrokenPlan(
            f"grouping: nodes {sorted(lost)} are in no group, {sorted(i for i in placed if placed.count(i) > 1)} in many"
        )
    known: set[int] = set()
    for k, group in enumerate(lowered.groups):
        if group.body is None:
            node = lowered.nodes[group.members[0]]
            if isinstance(node.op, Part):
                raise BrokenPlan(
                    f"grouping: a part of {node.op.name} of shape {node.shape} is in no loop, and NumPy cannot compute it"
                )
            sources = [r.source for r in node.inputs if isinstance(r, Ref)]
        else:
            sources = [source for source, *_ in group.inputs]
            for source, offset, strides, dtype in group.inputs:
                _inside("grouping", f"group {k}", lowered, source, dtype, offset, group.shape, strides)
            _verify_totals(k, group, lowered)
        for source in sources:
            if source >= 0 and source not in known:
                raise BrokenPlan(f"grouping: group {k} reads node {source}, which runs later or not at all")
        known.update(group.members)


def _verify_totals(k: int, group: Group, lowered: Lowered) -> None:
    """Totals are made over the last dims that are not reduced, and there is room for one row for each block."""
    rows = [d for d in range(len(group.shape)) if d not in group.reduced]
    if group.block != frozenset(rows[len(rows) - len(group.block) :]) or bool(group.block) != bool(group.totals):
        raise BrokenPlan(
            f"grouping: group {k} makes totals {sorted(group.totals)} over dims {sorted(group.block)} of {group.shape}"
        )
    for i in group.totals:
        node = lowered.nodes[i]
        count = prod(n for d, n in enumerate(group.shape) if d not in group.block)
        if prod(node.shape) != count or group.by_row[i]:
            raise BrokenPlan(f"grouping: group {k} makes {count} totals for node {i} ({node.op.name}) of shape {node.shape}")


def verify_memory(plan: Plan, life: dict[int, list[int]] | None = None) -> dict[int, list[int]]:
    """After the layout: steps read what has been written, and what lives at the same time lies apart.

    Returns the first and the last step that know a value, which are the same for other sizes: only the rest need be verified for
    these.
    """
    if life is None:
        life = _lives(plan)
    places = sorted(
        (plan.static[i], plan.static[i] + plan.bytes[i], *life[i], i)
        for i in life if i not in plan.checks
    )  # fmt: skip
    for n, (start, end, first, last, i) in enumerate(places):
        for other_start, _, other_first, other_last, j in places[n + 1 :]:
            if other_start >= end:
                break
            if first <= other_last and other_first <= last:
                raise BrokenPlan(f"layout: nodes {i} and {j} share memory at {max(start, other_start)} while both are needed")
    return life


def _lives(plan: Plan) -> dict[int, list[int]]:
    """The first and the last step that know a value in the plan's own memory. Raises where a step reads what none has written."""
    written: set[int | None] = {None, *plan.checks}
    life: dict[int, list[int]] = {}
    own = {source for source in plan.in_memory if source in plan.static}
    for k, (step, results) in enumerate(zip(plan.steps, _results(plan), strict=True)):
        sources = {s for s, _ in step.arguments} if step.compiled else {
            r.source for r in plan.nodes[step.node].inputs if isinstance(r, Ref)
        }  # fmt: skip
        for source in sources - results:
            if (source is None or source >= 0) and source not in written:
                raise BrokenPlan(f"layout: step {k} reads node {source}, which no step before it has written")
        written |= results
        for source in (sources | results) & own:
            life.setdefault(source, [k, k])[1] = k
    return life


def verify_targets(lowered: Lowered) -> None:
    """After the layout: what is written right into a tensor's memory is written when nobody needs its old content any more.

    That is after all steps that read it, or in the last one of them, if that reads at each point the element that it writes.
    """
    readers: dict[int, list[int]] = {}  # of the leaves, the steps
    writers: dict[int, int] = {}
    groups = _groups(lowered)
    for k, (step, results) in enumerate(zip(lowered.steps, _results(lowered), strict=True)):
        for source in set(lowered.sources(step)) - {None}:
            if source < 0:
                readers.setdefault(~source, []).append(k)
        for i in results:
            writers.setdefault(i, k)
    for i, slot in lowered.in_place.items():
        shape, dtype = lowered.slot_shapes[slot]
        node = lowered.nodes[i]
        if tuple(shape) != tuple(node.shape) or dtype is not node.dtype:
            raise BrokenPlan(f"layout: node {i} ({node.op.name}) of shape {node.shape} is written into memory of shape {shape}")
        for k in readers.get(slot, ()):
            if k > writers[i] or k == writers[i] and not _reads_what_it_writes(lowered, i, slot, groups[k]):
                raise BrokenPlan(f"layout: step {k} reads leaf {slot}, whose memory holds node {i} ({node.op.name}) by then")


def _reads_what_it_writes(lowered: Lowered, i: int, slot: int, group: Group | None) -> bool:
    """Whether the step of ``group`` that makes node ``i`` reads a leaf only where it writes, and once it has been read."""
    if group is None:
        return False
    if group.body is None:
        native = lowered.natives.get(group.members[0])
        places = [k for k, x in enumerate(native.arguments) if isinstance(x, Ref) and x.source == ~slot] if native else []
        return native is not None and native.updates and places == [0] and native.arguments[0].offset == 0  # type: ignore[union-attr]
    own = group.strides_of(i)
    return all(o == 0 and strides == own for source, o, strides, _ in group.inputs if source == ~slot)


def _groups(lowered: Lowered) -> list[Group | None]:
    """The group that each step computes; ``None`` for copies to storages."""
    made = [group for group in lowered.groups if _written_by(lowered, group)]
    return [*made, *[None] * (len(lowered.steps) - len(made))]


def _results(plan: Plan | Lowered) -> list[set[int]]:
    """The nodes that each step writes."""
    return [results for group in plan.groups if (results := _written_by(plan, group))] + [{j} for j in plan.copies.values()]


def _written_by(plan: Plan | Lowered, group: Group) -> set[int]:
    first = group.members[0]
    if group.body is not None:
        return {i for i in group.members if i in plan.in_memory}
    if plan.nodes[first].op is PROJECT and plan.nodes[first].inputs[0].source in plan.natives:
        return set()
    return {first, *plan.results.get(first, [])}


def _inside(
    stage: str, reader: str, lowered: Lowered, source: int, dtype, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """Refuses a view that reaches beyond the memory of what it shows; it may see that as another ``dtype``."""
    extent, own = (lowered.nodes[source].shape, lowered.nodes[source].dtype) if source >= 0 else lowered.slot_shapes[~source]
    if not offset and own is dtype and shape == extent and is_whole(shape, strides):
        return
    if own.__class__ is tuple or 0 in shape:
        return
    if any([n < 0 for n in shape]):
        raise OutOfBounds(f"{stage}: {reader} sees {source} in the shape {tuple(shape)}")
    count = prod(extent) * own.itemsize // dtype.itemsize
    low, high = reach(shape, strides, offset)
    if low < 0 or high >= count:
        raise OutOfBounds(f"{stage}: {reader} reads elements {low} to {high} of {source}, which has {count}")
