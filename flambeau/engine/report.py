"""What the engine says about itself: ``FLAMBEAU_LOG``, the making of a plan, and the figures of the whole process."""

from __future__ import annotations

import sys
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from flambeau.core import config

if TYPE_CHECKING:
    from flambeau.engine.plan import Plan


def wanted(topic: str) -> bool:
    """Whether ``FLAMBEAU_LOG`` names ``topic``."""
    return topic in config.log


def write(topic: str, text: str) -> None:
    """Says ``text`` on stderr if ``FLAMBEAU_LOG`` names ``topic``."""
    if topic in config.log:
        print("\n".join(f"[{topic}] {line}" for line in text.split("\n")), file=sys.stderr, flush=True)


class GroupReport(NamedTuple):
    """What runs as one: a ``"loop"``, a ``"kernel"`` of its own, or a kernel in ``"NumPy"``.

    ``ops`` are the names of what it computes, ``shape`` is the space that a loop walks or the shape of the result, ``reduced``
    the dims that it reduces. ``reads`` and ``writes`` describe values in memory: ``"%5"`` is what node 5 gives, ``"in2"`` the
    third of the tensors that the trace starts from. ``in_place`` are the numbers of values that take the memory of a tensor.
    """

    kind: str
    ops: tuple[str, ...]
    shape: tuple[int, ...]
    reduced: tuple[int, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    in_place: tuple[int, ...]

    def __str__(self) -> str:
        ops = ", ".join(f"{op} x{n}" if n > 1 else op for op, n in _runs(self.ops))
        reduced = f" reduces {', '.join(map(str, self.reduced))}" if self.reduced else ""
        return f"{self.kind:6} {self.shape}{reduced}: {ops}\n         {', '.join(self.reads)} -> {', '.join(self.writes)}"


class PlanReport:
    """How a plan came to be and what it does; ``str`` makes it readable.

    ``nodes``       how many operations it computes
    ``passes``      milliseconds by the name of the pass
    ``groups``      :class:`GroupReport`, in the order in which they run
    ``kernels``     how many calls of native kernels it makes
    ``calls``       how many native calls these take
    ``arena``       bytes for values that do not outlive a run
    ``outputs``     bytes for those that do
    ``runs``        how often it has run
    """

    def __init__(self, plan: Plan) -> None:
        self.nodes = sum(1 for node in plan.nodes if node is not None)
        self.passes = dict(plan.passes.ms)
        self.groups = [_group(plan, group) for group in plan.groups]
        self.kernels = sum(1 for step in plan.steps if step.compiled)
        self.calls = sum(1 for call in plan.calls if isinstance(call, tuple))
        self.arena = plan.arena_size
        self.outputs = sum(prod(output.shape) * output.dtype.itemsize for output in plan.outputs.values())
        self.runs = plan.runs

    def __str__(self) -> str:
        numpy = sum(1 for group in self.groups if group.kind == "NumPy")
        head = (
            f"plan: {self.nodes} nodes, {self.kernels} kernels in {self.calls} native calls, {numpy} kernels in NumPy, "
            f"arena {_bytes(self.arena)}, results {_bytes(self.outputs)}\n"
            f"passes, ms: {', '.join(f'{name} {ms:.1f}' for name, ms in self.passes.items())}"
        )
        return "\n".join([head, *(f"{k:5}. {group}" for k, group in enumerate(self.groups))])


def _group(plan: Plan, group) -> GroupReport:
    members = group.members
    ops = tuple(plan.nodes[i].op.name for i in members)
    if group.body is not None:
        written = [i for i in members if i in plan.in_memory]
        reads = [f"{name_of(source)} {dtype.name}{_strides(strides)}" for source, _, strides, dtype in group.inputs]
        kind, shape, reduced = "loop", group.shape, tuple(sorted(group.reduced))
    else:
        i = members[0]
        node = plan.nodes[i]
        written = plan.results.get(i, [i])
        reads = [f"{name_of(r.source)} {r.dtype.name if hasattr(r.dtype, 'name') else '...'}{list(r.shape)}" for r in _refs(node)]
        kind, shape, reduced = ("kernel" if i in plan.natives else "NumPy"), node.shape, ()
    writes = [f"{name_of(i)} {_kind(plan, i)}" for i in written]
    in_place = tuple(i for i in written if i in plan.in_place)
    return GroupReport(kind, ops, _plain(shape), reduced, tuple(reads), tuple(writes), in_place)


def _refs(node) -> list:
    return [x for x in node.inputs if hasattr(x, "source")]


def _plain(shape) -> tuple:
    return tuple(tuple(n) if isinstance(n, tuple) else n for n in shape)


def name_of(source: int) -> str:
    """How reports call a value: a node by its number, a tensor that the trace starts from by its slot."""
    return f"%{source}" if source >= 0 else f"in{~source}"


def _kind(plan: Plan, i: int) -> str:
    node = plan.nodes[i]
    if i in plan.in_place:
        where = f"in place of {name_of(~plan.in_place[i])}"
    elif i in plan.static:
        where = "arena"
    elif i in plan.outputs:
        where = "kept"
    else:
        where = "own memory"
    shape = "" if isinstance(node.dtype, tuple) else f"{node.dtype.name}{list(node.shape)} "
    return f"{shape}({where})"


def _strides(strides) -> str:
    return f"[strides {', '.join(map(str, strides))}]"


def _runs(names: tuple[str, ...]) -> list[tuple[str, int]]:
    """Names in order, neighbours that are equal counted."""
    found: list[tuple[str, int]] = []
    for name in names:
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1] + 1)
        else:
            found.append((name, 1))
    return found


def _bytes(n: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} bytes"
