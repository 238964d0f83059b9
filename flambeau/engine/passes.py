"""The passes that make a plan of a trace, as data: their order, what each does, and which function does it.

    >>> from flambeau.engine.passes import PIPELINE
    >>> for step in PIPELINE[:3]:
    ...     print(step)
    templates             a trace without its values; who reads through a view reads with its strides
    expand                an op with an expand rule becomes its parts
    turn_products         a product of which only the transpose is kept is made in that order

``FLAMBEAU_LOG=after:grouping`` prints what there is after a pass, ``after:all`` does after each of them. Sizes of a plan that is
made for other sizes too are printed as ``<64>``.
"""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from flambeau.core import config
from flambeau.engine import report, verify
from flambeau.engine.grouping import Group, Ref, Static

if TYPE_CHECKING:
    from flambeau.engine.lowered import Lowered
    from flambeau.engine.plan import Plan
    from flambeau.engine.templates import Template


class Pass(NamedTuple):
    """One pass: its ``name``, what it ``does``, and where its function ``stands``.

    ``show`` gives what there is afterwards as text, of a :class:`~flambeau.engine.lowered.Lowered` or of a plan, and the order of
    its nodes. One that ``rewrites`` takes the nodes and their order, changes nodes, and returns the order that they have then;
    :meth:`Passes.rewrite` calls these in turn.
    """

    name: str
    does: str
    stands: str
    show: Callable[[Any, list[int]], str]
    rewrites: bool = False

    @property
    def function(self) -> Callable[..., Any]:
        """The function that does it, or the class whose making does."""
        return pkgutil.resolve_name(f"flambeau.engine.{self.stands}")

    def __str__(self) -> str:
        return f"{self.name:21} {self.does}"


# --- what there is after a pass --------------------------------------------------------------------------------


def nodes(made: Lowered, order: list[int]) -> str:
    """The nodes in their order: what each gives, and what it reads."""
    return "\n".join([_node(i, made.nodes[i]) for i in order if made.nodes[i] is not None])


def _node(i: int, node: Template) -> str:
    settings = "".join([f" {name}={value!r}" for name, value in node.attrs.items()])
    kept = ", kept" if node.kept else ""
    return f"%{i} = {node.op.name}({', '.join(map(_input, node.inputs))}){settings}: {_type(node.dtype, node.shape)}{kept}"


def _input(x: Any) -> str:
    if isinstance(x, Ref):
        name = report.name_of(x.source)
        return f"{name}[{_numbers(x.shape)}; strides {_numbers(x.strides)}; from {x.offset!r}]" if x.view else name
    if isinstance(x, Static):
        return repr(x.value)
    return "None" if x is None else f"number {x}"


def _type(dtype: Any, shape: Any) -> str:
    if isinstance(dtype, tuple):
        return f"({', '.join([_type(d, s) for d, s in zip(dtype, shape, strict=True)])})"
    return f"{dtype.name}[{_numbers(shape)}]"


def _numbers(numbers: Any) -> str:
    return ", ".join(map(repr, numbers))


def _groups(made: Lowered, order: list[int]) -> str:
    """The groups in their order, with the nodes of each."""
    return "\n".join([f"{k}. {_group(made, group)}" for k, group in enumerate(made.groups)])


def _group(made: Lowered, group: Group, kind: str = "alone") -> str:
    members = ", ".join([f"%{i} {made.nodes[i].op.name}" for i in group.members])
    if group.body is None:
        return f"{kind}: {members}"
    reduced = f" reduces {_numbers(sorted(group.reduced))}" if group.reduces else ""
    read = ", ".join(dict.fromkeys([report.name_of(source) for source, *_ in group.inputs]))
    return f"loop over ({_numbers(group.shape)}){reduced}: {members}; reads {read or 'nothing'}"


def _kinds(made: Lowered, order: list[int]) -> str:
    """The groups, which of them have a kernel of their own, and the nodes whose value must be in memory."""
    lines = [
        f"{k}. {_group(made, group, 'kernel' if group.members[0] in made.natives else 'NumPy')}"
        for k, group in enumerate(made.groups)
    ]
    return "\n".join([*lines, f"in memory: {', '.join([f'%{i}' for i in sorted(made.in_memory)])}"])


def _steps(made: Lowered | Plan, order: list[int]) -> str:
    """The steps: loops as text, and which values each step is given."""
    lines = []
    for k, step in enumerate(made.steps):
        arguments = ", ".join(["fault" if source is None else report.name_of(source) for source, _ in step.arguments])
        if step.loop is not None:
            lines.append(f"{k}. loop of {arguments}\n{_indented(str(step.loop))}")
        else:
            node = made.nodes[step.node]
            lines.append(f"{k}. kernel of {arguments}: {node.op.name}" if step.native else f"{k}. NumPy: {_node(step.node, node)}")
    lines += [f"%{i} is written into {report.name_of(~slot)}" for i, slot in made.in_place.items()]
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join([f"   {line}" for line in text.split("\n")])


def _report(made: Plan, order: list[int]) -> str:
    return str(report.PlanReport(made))


# --- the passes ------------------------------------------------------------------------------------------------

PIPELINE = (
    Pass("templates", "a trace without its values; who reads through a view reads with its strides", "templates:templates", nodes),
    Pass("expand", "an op with an expand rule becomes its parts", "expansion:expand", nodes, True),
    Pass(
        "turn_products", "a product of which only the transpose is kept is made in that order", "fusion:turn_products", nodes, True
    ),
    Pass(
        "lay_out_convolutions",
        "a convolution is made in the order of dims that is kept of it",
        "fusion:lay_out_convolutions",
        nodes,
        True,
    ),
    Pass("join_rectifiers", "a relu becomes one with the product or convolution before it", "fusion:join_rectifiers", nodes, True),
    Pass("grouping", "nodes that can be computed together become one group, which is one loop", "grouping:Grouper", _groups),
    Pass("natives", "other nodes get kernels of their own; whose value must be in memory", "lowered:Lowered._find_natives", _kinds),
    Pass(
        "steps",
        "groups become loops and calls; what is written right into the memory of tensors",
        "lowered:Lowered._steps_of",
        _steps,
    ),
    Pass("sizes", "numbers come in place of symbols, in a plan for one member of a family", "lowered:Lowered.natives_at", _steps),
    Pass("kernels", "loops and calls are compiled, or found in the cache", "plan:Plan._kernel", _steps),
    Pass("layout", "each value in memory gets its address, and each kernel is told of it", "plan:Plan._lay_out", _report),
)
"""All passes, in the order in which they run. Those up to ``steps`` decide, once for all sizes of a family; the others make a plan
of it."""

_REWRITES = tuple([p for p in PIPELINE if p.rewrites])
_TOPICS = {"after:all", *[f"after:{p.name}" for p in PIPELINE]}


class Passes:
    """The passes that one plan goes through: ``done("templates")`` ends one, times it, and prints what it has made where that is
    asked for.

    They must come as the ``PIPELINE`` has them. ``before`` are those that have been gone through already, and ``made`` is what is
    made.
    """

    def __init__(self, before: Passes | None = None, made: Lowered | Plan | None = None) -> None:
        self.ms: dict[str, float] = {} if before is None else dict(before.ms)
        self._count: int = 0 if before is None else before._count
        self._made = None if made is None else ref(made)  # which keeps its passes
        self._order: list[int] = []
        self._shown: str = "" if before is None else before._shown
        self._last = time.perf_counter()

    def done(self, name: str) -> None:
        """Ends the pass of that ``name``; ``BrokenPlan`` where the pipeline has another in this place."""
        ended = PIPELINE[self._count]
        if ended.name != name:
            raise verify.BrokenPlan(f"the pass {name} has run where PIPELINE has {ended.name}")
        self._count += 1
        now = time.perf_counter()
        self.ms[name] = (now - self._last) * 1e3
        if config.log:
            self._print(ended)
            now = time.perf_counter()
        self._last = now

    def rewrite(self, lowered: Lowered) -> list[int]:
        """Runs the passes that rewrite the templates of ``lowered``; returns the nodes that there are then, in the order in which
        they run."""
        self._made, self._order = ref(lowered), list(range(len(lowered.nodes)))
        self.done("templates")
        for step in _REWRITES:
            self._order = step.function(lowered.nodes, self._order)
            self.done(step.name)
        order, self._order = self._order, []
        verify.verify_nodes(lowered, order)
        return order

    def _print(self, ended: Pass) -> None:
        """Says what there is after a pass, in the topics ``after:`` its name and ``after:all``."""
        if self._count == 1:
            for topic in sorted(config.log):
                if topic.startswith("after:") and topic not in _TOPICS:
                    report.write(topic, f"there is no such pass; there are {', '.join([p.name for p in PIPELINE])}, and all")
        topics = [topic for topic in (f"after:{ended.name}", "after:all") if report.wanted(topic)]
        if topics:
            before, self._shown = self._shown, ended.show(self._made and self._made(), self._order)
            for topic in topics:
                text = "as before" if topic == "after:all" and self._shown == before else self._shown
                report.write(topic, f"{ended}\n{_indented(text)}")
