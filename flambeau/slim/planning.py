"""The plan of a recorded model for a target, as numbers: what a loader needs to run its kernels.

The engine makes the plan, as for a trace of this process, but with kernels for the target. Here its addresses become pairs (source,
offset): a source is a piece of memory whose beginning the loader knows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.engine.cpu import threads
from flambeau.engine.cpu.compiler import compiling_for
from flambeau.engine.graph import PROJECT
from flambeau.engine.lowered import Lowered, Step
from flambeau.engine.plan import Kernel, Plan
from flambeau.slim.recording import ExportError, Recording, Weights
from flambeau.slim.targets import Assembly

NUMBER, CODE, ARENA, FAULTS, NUMBERS, FIRST = range(6)
"""Sources: none, so that the offset is the whole word; machine code; memory for intermediate values; where kernels note that they
refuse their values; numbers that they are told. From the last on come the inputs, the results and the weights."""


class _Plan(Plan):
    """A plan that keeps what its kernels are told, with all intermediate values in one arena."""

    def _cells(self, places: dict[int, int]) -> dict:
        return {}

    def _lay_out(self, kernels: list[Kernel]) -> None:
        self.kernels = kernels
        super()._lay_out(kernels)


def plan_of(recording: Recording, assembly: Assembly, weights: Weights) -> dict[str, Any]:
    """The plan for a target, whose kernels ``assembly`` makes.

    ``arena``     bytes for intermediate values; ``faults`` words for refusals; ``numbers`` those that kernels are told, as words
    ``kernels``   the names of the kernels in their order, and ``starts`` for each the first of its arguments
    ``sources``   of all arguments, one kernel's behind the other's, and their ``offsets``: names where the source is the code
    ``calls``     (how many kernels, and what may have refused its values when they have run: ``("index", op)``, ``("value", op)``
                  or ``None``)
    ``results``   for each result which of the ``outputs``, (shape, dtype), it is
    """
    threads.pool()
    with compiling_for(assembly):
        recording.trace.mark()
        plan = _Plan(Lowered(recording.trace))
    left = [plan.nodes[step.node].op for step in plan.steps if not step.compiled]
    if left:
        names = ", ".join(dict.fromkeys(_name(op.name) for op in left if op is not PROJECT))
        raise ExportError(f"no kernels of machine code compute {names} here, which a slim model would need NumPy's meaning for")
    return _Writer(recording, assembly, plan, weights).plan()


class _Writer:
    def __init__(self, recording: Recording, assembly: Assembly, plan: _Plan, weights: Weights) -> None:
        self.recording, self.assembly, self.made = recording, assembly, plan
        self.sources: list[int] = []
        self.offsets: list[int | str] = []
        self.numbers: list[int] = []
        inputs, outputs = len(recording.inputs), list(plan.outputs)
        self.outputs = outputs
        self.places: dict[int, int] = {
            i: FIRST + inputs + k for k, i in enumerate(outputs)
        }  # sources of nodes and, inverted, of slots
        for slot, (kind, k) in enumerate(recording.slots):
            weight = None if kind == "input" else weights.place(recording.weights[k])
            self.places[~slot] = FIRST + k if weight is None else FIRST + inputs + len(outputs) + weight

    def plan(self) -> dict[str, Any]:
        plan = self.made
        names, starts = [], []
        for step, kernel in zip(plan.steps, plan.kernels, strict=True):
            names.append(self.assembly.name_of(kernel.address))
            starts.append(len(self.sources))
            self._add_arguments(step, kernel)
        return {
            "arena": plan.arena_size, "faults": len(plan.fault), "numbers": self.numbers, "kernels": names, "starts": starts,
            "sources": self.sources, "offsets": self.offsets, "calls": list(self._calls()),
            "outputs": [[list(plan.outputs[i].shape), plan.outputs[i].dtype.name] for i in self.outputs],
            "results": [self.outputs.index(i) for i in self.recording.outputs],
        }  # fmt: skip

    def _add_arguments(self, step: Step, kernel: Kernel) -> None:
        base = self.made.memory.__array_interface__["data"][0]
        for source, offset in kernel.arguments:
            if source in self.places:
                self._add(self.places[source], offset)
            elif source is None or source in self.made.checks:
                self._add(FAULTS, 0 if source is None else 8 * (1 + self.made.checks.index(source)))
            else:
                self._add(ARENA, self.made.static[source] - base + offset)
        if step.numbers:
            self._add(NUMBERS, 8 * len(self.numbers))
            for which, dtype in step.numbers:
                self.numbers.append(_word(self.recording.trace.numbers[which], dtype))
        for word in kernel.words:
            name = self.assembly.name_of(word)
            self._add(NUMBER if name is None else CODE, _signed(word) if name is None else name)

    def _add(self, source: int, offset: int | str) -> None:
        self.sources.append(source)
        self.offsets.append(offset)

    def _calls(self) -> Iterator[tuple[int, tuple[str, str] | None]]:
        """Runs of kernels: one that may refuse its values ends such a run."""
        steps = iter(self.made.steps)
        for _, count in self.made.calls:
            *_, last = [next(steps) for _ in range(count)]
            yield count, self._refusal(last) if last.checked else None

    def _refusal(self, step: Step) -> tuple[str, str]:
        """What a step may refuse: kernels of their own do so for an index, loops for the values that a part of theirs checks."""
        if step.native:
            return "index", _name(self.made.nodes[step.node].op.name)
        check = next(source for source, _ in step.arguments if source in self.made.checks)
        return "value", _name(self.made.nodes[check].op.name.removesuffix(" part"))


def _name(op: str) -> str:
    """An op's name as users know it."""
    return op.removeprefix("aten.").lstrip("_")


def _word(number: float, dtype: Dtype) -> int:
    """A number as kernels are told it: an integer, or the bits of a double."""
    if dtype.kind == dtypes.INTEGRAL:
        return _signed(int(number))
    (word,) = struct.unpack("<q", struct.pack("<d", number))
    return int(word)


def _signed(word: int) -> int:
    """A word of 64 bits as the number that it is with a sign."""
    return (word + (1 << 63)) % (1 << 64) - (1 << 63)
