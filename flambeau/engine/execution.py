"""One run of a plan: binding values, calling its kernels, and giving nodes their values.

A signal handler may raise after any step of it, or use tensors itself and so go on with the very run that it has interrupted
(see :mod:`flambeau.engine.run`). So a step is either done again without harm or counts itself: native kernels count in memory
that they share with Python, and what changes a node stands between two calls of Python's, where no handler runs.
"""

from __future__ import annotations

import sys
from array import array
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import config
from flambeau.core.errors import is_passing
from flambeau.engine import flight
from flambeau.engine.graph import NO_ATTRS, PROJECT, Node, strided
from flambeau.engine.grouping import Ref, Static
from flambeau.engine.interpreter import ONE_HOLDER, Failed, compute

if TYPE_CHECKING:
    from flambeau.engine.plan import Plan
    from flambeau.engine.trace import Trace


GAVE_UP = 1 << 62
"""How many calls have been made if one has refused its values."""


class Execution:
    """A plan that runs on a trace's values.

    ``at``      how many of the plan's calls have been made
    ``state``   of the present call, the address of its kernels' list and how many have run (see ``compiler.driver``); and
                where these two words are
    """

    at = 0
    state: tuple[array, int] | None = None

    plan: Plan
    trace: Trace
    values: dict[int, np.ndarray]

    def bind(self) -> bool:
        """Tells the kernels where this trace's values are; whether they can run on them. No kernel has run then."""
        plan, trace, values = self.plan, self.trace, self.values
        if flight.aloft is not None:
            flight.land()  # what is aloft uses the arena, and perhaps these very arguments
        if plan.binder is not None:  # which was interrupted: what it has told is not known
            plan.known = dict.fromkeys(plan.dynamic, 0)
        plan.binder = self
        leaves, known = trace.leaves, plan.known
        if plan.rewritten:
            self._bind_targets()
        for i, output in plan.outputs.items():
            values[i] = output.take()
            if known.get(i) != output.address:
                plan.tell(i, output.address)
        for slot, source in plan.bound:
            x = leaves[slot]
            address = x.address
            if not address:
                if x.value.__class__ is Failed:
                    return False
                address = x.address = plan.address_of(x.value)
            if known[source] != address:
                plan.tell(source, address)
        if plan.number_order:
            numbers = (*trace.numbers, *plan.fixed) if plan.fixed else trace.numbers
            try:
                plan.numbers[:] = array("d", [numbers[n] for n in plan.number_order])
            except OverflowError:  # an int that no float can hold
                return False
            for place, n in plan.integers:
                plan.integer_view[place] = numbers[n]
        if not plan.all_native:
            values.update(plan.views)
            for slot, x in enumerate(leaves):
                if x.value.__class__ is Failed:
                    return False
                values[~slot] = x.value
        if plan.binder is not self:  # a signal handler has gone on with this run, and told kernels something else
            plan.binder = self
            return False
        plan.binder = None
        return True

    def _bind_targets(self) -> None:
        plan, trace, values = self.plan, self.trace, self.values
        leaves, uses, known = trace.leaves, trace.structure.leaf_uses, plan.known
        for which, i, slot in plan.rewritten:
            storage = trace.targets[which][0]
            if sys.getrefcount(leaves[slot]) - ONE_HOLDER - 1 > uses[slot]:  # besides the storage
                storage.release_leaf()
            leaf = storage.leaf
            values[i] = leaf.value
            address = leaf.address or address_of_leaf(leaf)
            if known.get(i) != address:
                plan.tell(i, address)

    def go_on(self, wanted: Node | None = None, worth: float | None = None) -> bool:
        """Makes the calls that are left, and gives the kept nodes their values.

        Where ``worth``, the seconds that the plan takes, is enough, kernels behind the one that makes the value of ``wanted``
        are launched (see :mod:`flambeau.engine.flight`). Returns False where a step has refused its values, or NumPy found no
        memory for one: nothing that the interpreter needs to run the trace, and to find out what is wrong with it, has been
        changed then.
        """
        plan, values = self.plan, self.values
        calls, fault = plan.calls, plan.fault
        last = plan.flight
        if last is not None and (worth is None or not flight.worth_launching(worth)):
            last = None
        total = len(calls)
        while (at := self.at) < total:
            call = calls[at]
            if call.__class__ is tuple:
                address, count = call
                state = self.state
                if state is None:
                    state = plan.state
                    if state is None:
                        words = array("q", (0, 0))
                        state = words, words.buffer_info()[0]
                        if plan.state is None:
                            plan.state = state
                        continue
                    plan.state = None  # no call from "if" on: nobody else takes it
                    words, place = state
                    words[0], words[1] = address, 0
                    self.state = state
                else:
                    words, place = state
                if last is not None and worth is not None and at == total - 1:
                    self._fly(words, place, count, last, wanted, worth)
                while words[1] < count:
                    plan.drive(place, count)
                if 1 in fault:
                    self.at = GAVE_UP
                    fault[:] = array("q", [0] * len(fault))
                    return False
                if self.at == at:
                    self.state, plan.state = None, state
                    self.at = at + 1
                continue
            try:
                with np.errstate(all="ignore"):
                    value = self._compute(call)
            except Exception as error:
                if not isinstance(error, MemoryError) and is_passing(error, plan.nodes[call].op.kernel):
                    raise
                self.at = GAVE_UP
                return False
            values[call] = value
            if call in plan.dynamic:
                plan.tell(call, address_of(value))
            if self.at == at:
                self.at = at + 1
        if self.at == GAVE_UP:
            return False
        self._finish()
        return True

    def _fly(self, state: array, place: int, count: int, first: int, wanted: Node | None, worth: float) -> None:
        """Runs the last call's kernels up to the one that makes ``wanted``, and launches the rest if that takes long enough.

        ``first`` is how many steps of the plan come before the call.
        """
        plan, nodes = self.plan, self.trace.nodes
        made = 0
        if wanted is not None:  # what is no result of its own comes last
            made = plan.makers.get(nodes.index(wanted), first + count) if wanted in nodes else first + count
        enough = max(0, made - first)
        seconds = worth * (count - enough) / len(plan.steps)
        if enough == count or seconds < config.ahead:
            return
        while state[1] < enough:
            plan.drive(place, enough)
        ready = partial(plan.ready, first + enough)
        read = [x.value for x in self.trace.leaves]
        flight.launch(state, count, ready, seconds, self.values.values(), read)

    def _compute(self, i: int):
        """The value of a node that has no native kernel."""
        node, values = self.plan.nodes[i], self.values
        args: list = []
        for x in node.inputs:
            if isinstance(x, Ref):
                value = values[x.source]
                args.append(strided(value, x.shape, x.strides, x.offset, x.dtype) if x.view else value)
            else:
                args.append(x.value if x.__class__ is Static else None if x is None else self.trace.numbers[x])
        if node.op is PROJECT:
            return args[0][node.attrs["index"]]
        return compute(node, args)

    def _finish(self) -> None:
        nodes, values, known = self.trace.nodes, self.values, self.plan.known
        if self.plan.sizes is not None:  # there may be many such plans, so they hold on to no memory
            for output in self.plan.outputs.values():
                output.array = ()
        for i, place, has_address in self.plan.kept:
            node, value = nodes[i], values[place]
            address = known.get(place, 0) if has_address else 0
            if node.op is not None:  # no call from here on: a node has its value and is a leaf, or neither
                node.value = value
                node.op, node.attrs, node.inputs = None, NO_ATTRS, ()
                node.address = address


def address_of(a: np.ndarray) -> int:
    """Where an array's memory begins."""
    return a.__array_interface__["data"][0]


def address_of_leaf(x: Node) -> int:
    """The address of a leaf's value, which the leaf remembers."""
    x.address = address_of(x.value)
    return x.address
