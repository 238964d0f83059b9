"""What of a plan's memory and arguments is the same for all sizes: who is where, when, and what kernels are told in each run.

A plan for other sizes puts in addresses, lengths and words; see :class:`flambeau.engine.plan.Plan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.core import dtypes

if TYPE_CHECKING:
    from flambeau.engine.lowered import Lowered


class Frame:
    """The places of a plan's values, without addresses.

    ``outputs``   the kept nodes that get memory of their own in each run; ``arena`` the nodes that lie in the arena, by their
                  first step: (node, first step, last step); ``checks`` lie behind the plan's fault
    ``told``      the values whose places kernels are told in each run: (value, the places of it), each the number of a step, and of
                  an argument among those of the step
    ``numbers``   how many numbers kernels are given, ``number_order`` which of the trace's each is, or from the end, which of the
                  sizes ``fixed``; ``integers`` which of them are whole: (place, which)
    ``bound``     the leaves whose addresses kernels need: (slot, value); ``kept`` who gets a value in the end: (node, the node that
                  has it, whether it is in memory that the plan has taken for it)
    ``rewritten``  what is written in place: (which target, the node whose value it takes, the slot of its old content)
    """

    def __init__(self, lowered: Lowered) -> None:
        nodes, in_place, copies = lowered.nodes, lowered.in_place, lowered.copies
        here = lowered.native_nodes & lowered.in_memory
        self.outputs = [i for i in here if nodes[i].kept and i not in in_place and i not in copies]
        life: dict[int, list[int]] = {}
        for k, step in enumerate(lowered.steps):
            for source in lowered.sources(step):
                life.setdefault(source, [k, k])[1] = k
        inside = [i for i in here.difference(lowered.checks) if not nodes[i].kept or i in copies]
        self.arena = sorted([(i, *life[i]) for i in inside], key=lambda place: place[1])
        static = {None, *lowered.checks, *inside}
        told: dict[int, list[tuple[int, int]]] = {}
        self.number_order: list[int] = []
        self.integers: list[tuple[int, int]] = []
        fixed: list = []
        for k, step in enumerate(lowered.steps):
            for j, (source, _) in enumerate(step.arguments):
                if source not in static:
                    told.setdefault(source, []).append((k, j))
            for which, dtype in step.numbers:
                place = which
                if isinstance(which, tuple):  # a size
                    fixed += which
                    place = -len(fixed)
                if dtype.kind == dtypes.INTEGRAL:
                    self.integers.append((len(self.number_order), place))  # type: ignore[arg-type]
                self.number_order.append(place)  # type: ignore[arg-type]
        self.numbers = len(self.number_order)
        self.told = list(told.items())
        self.fixed = tuple(fixed[::-1])
        self.bound = [(~source, source) for source in told if source < 0]
        in_memory = {*self.outputs, *in_place, *copies}
        self.kept = [(i, copies.get(i, i), i in in_memory) for i in lowered.kept]
        self.rewritten = [
            (k, copies.get(i, i), slot)
            for k, (i, slot) in enumerate(lowered.targets)
            if in_place.get(copies.get(i, i)) == slot
        ]  # fmt: skip
