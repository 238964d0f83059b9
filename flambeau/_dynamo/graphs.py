"""Functions that are compiled by a backend of the program's own: ``torch.compile(f, backend=my_backend)``.

A backend is given what the function computes for arguments of one form, as a graph whose inputs are the parameters and other
tensors that the function reads, and then the tensors among the arguments; and these tensors. What it returns is called in the
function's place as long as the guards of :mod:`flambeau.compiling.guards` hold. A function that no graph can say, since it looks at
values, draws random numbers or does anything else than compute, runs as it is written, all of it (PyTorch would cut it in pieces).

The first call of a form is watched, so that it is known what the function reads. Where it has written to no tensor it runs once
more to be traced, and the backend is called at once; where it has, the next call is the one that is traced.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from flambeau import dispatch
from flambeau.compiling.arguments import Arguments
from flambeau.compiling.errors import BackendCompilerFailed, Unsupported
from flambeau.compiling.function import CAPTURING, MAX_CAPTURES, MAX_FAILURES, Captures, Survey, one_at_a_time, stance
from flambeau.compiling.guards import Miss
from flambeau.compiling.watch import Refused
from flambeau.core import nests
from flambeau.engine import report
from flambeau.fx.conversion import graph_of
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node
from flambeau.jit.tracing import record
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = ["ExplainOutput", "GraphCaptures", "explain"]

Backend = Callable[[GraphModule, list[Tensor]], Callable]


class GraphCaptures(Captures):
    """What a backend has made of a function, by the form of the call."""

    def __init__(self, function: Callable, name: str, fullgraph: bool, backend: Backend) -> None:
        super().__init__(function, name, fullgraph)
        self.backend = backend
        self.compiled: dict[tuple, list[_Compiled]] = {}

    def forget(self) -> None:
        super().forget()
        self.compiled.clear()

    def answer(self, args: tuple, kwargs: dict, misses: list[Miss]) -> Any:
        """Calls what the backend has made for such a call, or has it made."""
        if self.must_be_plain():
            return self.function(*args, **kwargs)
        try:
            arguments = Arguments(args, kwargs)
        except Refused as refused:
            self._refused(("arguments",), str(refused))
            return self.function(*args, **kwargs)
        key = self.key(arguments, args)
        for compiled in self.compiled.get(key, ()):
            if compiled.survey.changed(args, kwargs) is None:
                return compiled(arguments.tensors)
        self.refuse_new_forms(args, kwargs, misses)
        if stance.name in CAPTURING and self._may_try(key) and one_at_a_time.acquire(blocking=False):
            try:
                survey = self.surveys.pop(key, None)
                if survey is not None and survey.changed(args, kwargs) is None:
                    return self._compile(key, arguments, survey)
                return self._survey(key, arguments)
            finally:
                one_at_a_time.release()
        return self.function(*args, **kwargs)

    def _may_try(self, key: tuple) -> bool:
        """Whether there may be more graphs, and this form has not been tried in vain too often."""
        return self.failures.get(key, 0) < MAX_FAILURES and sum(map(len, self.compiled.values())) < MAX_CAPTURES

    def _survey(self, key: tuple, arguments: Arguments) -> Any:
        """The first call of a form."""
        held = [*arguments.tensors, *_tensors_of(self.function)]
        before = [t._storage.version for t in held]
        result = super()._survey(key, arguments)
        if key not in self.surveys or before != [t._storage.version for t in held]:
            return result
        return self._compile(key, arguments, self.surveys.pop(key), again=True)

    def _compile(self, key: tuple, arguments: Arguments, survey: Survey, again: bool = False) -> Any:
        """Traces a call and hands its graph to the backend. ``again``: the function changes nothing, so that the call can be made
        by what the backend has returned; otherwise the result is that of the call that was traced."""
        traced = _Traced(self.function, arguments, survey)
        if traced.reason:
            self._refused(key, traced.reason)
            return traced.result
        name = str(getattr(self.backend, "__name__", type(self.backend).__name__))
        try:
            made = self.backend(traced.module, traced.inputs)
        except Exception as error:
            raise BackendCompilerFailed(name, error) from error
        if not callable(made):
            raise BackendCompilerFailed(name, TypeError(f"it returned {type(made).__name__}, which cannot be called"))
        compiled = _Compiled(traced, made, survey)
        self.compiled.setdefault(key, []).append(compiled)
        report.write("guards", f"{self.name}: compiled by its backend ({len(self.compiled)})")
        return compiled(arguments.tensors) if again else traced.result


def _tensors_of(function: Any) -> list[Tensor]:
    """The parameters and buffers of the module that a function is, or belongs to."""
    root = getattr(function, "__self__", function)
    return [*root.parameters(), *root.buffers()] if isinstance(root, Module) else []


class _Traced:
    """What one call computes, as a graph: ``module`` takes ``inputs``, of which the first are ``state``. ``result`` is the call's;
    where no graph can say it, ``reason`` is why."""

    def __init__(self, function: Callable, arguments: Arguments, survey: Survey) -> None:
        known = _paths_of(function)
        state = [t for t in survey.tensors if not any(t is a for a in arguments.tensors)]
        names = [known.get(id(t), f"L_tensor_{i}_") for i, t in enumerate(state)]
        names += _argument_names(function, arguments)
        given = [*state, *arguments.tensors]

        def call(*tensors: Tensor) -> Any:
            return function(*arguments.args, **arguments.kwargs)

        trace, self.result, self.reason = record(call, None, tuple(given), {}, names=names, dynamic=False)
        if trace is None:
            return
        if trace.constants and re.search(r"ops\.flambeau\.(\w*_|setitem)\(", trace.source):
            self.reason = "it makes a tensor of values, and writes to tensors"
            return
        held = Module()
        for i, constant in enumerate(trace.constants):
            held.register_buffer(f"_tensor_constant{i}", constant)
        graph = Graph()
        inputs = {}
        for name, t in zip(names, given, strict=True):
            inputs[name] = graph.placeholder(name)
            inputs[name].name = name.lower()
            inputs[name].meta["example_value"] = inputs[name].meta["val"] = t

        def found(name: str) -> Node:
            return graph.get_attr(f"_tensor_constant{name.rpartition('.c')[2]}") if name.startswith("CONSTANTS.c") else inputs[name]

        returned, nodes = graph_of(trace.source, graph, found)
        for name, value in trace.values.items():
            if isinstance(nodes.get(name), Node):
                nodes[name].meta["example_value"] = nodes[name].meta["val"] = dispatch.valueless(value._shape, value._dtype)
        self.leaves, self.spec = nests.tree_flatten(returned)
        graph.output(tuple([x for x in self.leaves if isinstance(x, Node)]))
        used = [bool(node.users) for node in inputs.values()]
        for node, keep in zip(inputs.values(), used, strict=True):
            if not keep:
                graph.erase_node(node)
        self.inputs = [t for t, keep in zip(given, used, strict=True) if keep]
        self.state = [t for t, keep in zip(state, used) if keep]
        self.used = used[len(state) :]
        self.module = GraphModule(held, graph, "GraphModule")


def _paths_of(function: Any) -> dict[int, str]:
    """What PyTorch calls a module's parameters and buffers among a graph's inputs."""
    root = getattr(function, "__self__", function)
    if not isinstance(root, Module):
        return {}
    names: dict[int, str] = {}
    for kind, found in (("parameters", root.named_parameters()), ("buffers", root.named_buffers())):
        for path, t in found:
            *modules, last = path.split(".")
            names[id(t)] = "L_self_" + "".join(f"modules_{part}_" for part in modules) + f"{kind}_{last}_"
    return names


def _argument_names(function: Any, arguments: Arguments) -> list[str]:
    """What PyTorch calls the tensors among arguments: ``L_x_`` and, inside of others, ``L_batch_0_``."""
    try:
        parameters = list(inspect.signature(getattr(function, "forward", function)).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = []
    for text in arguments.texts:
        head, _, rest = text.partition("]")
        place = head.partition("[")[2].strip("'")
        if place.isdigit() and int(place) < len(parameters) and parameters[int(place)].kind is not inspect.Parameter.VAR_POSITIONAL:
            place = parameters[int(place)].name
        names.append("L_" + "_".join(re.findall(r"\w+", place + rest)) + "_")
    return names


class _Compiled:
    """What a backend has returned, called with the tensors of a call."""

    def __init__(self, traced: _Traced, made: Callable, survey: Survey) -> None:
        self.state, self.used, self.leaves, self.spec = traced.state, traced.used, traced.leaves, traced.spec
        self.made, self.survey = made, survey

    def __call__(self, tensors: list[Tensor]) -> Any:
        results = self.made(*self.state, *[t for t, used in zip(tensors, self.used, strict=True) if used])
        values = iter(results if isinstance(results, (tuple, list)) else (results,))
        return nests.tree_unflatten([next(values) if isinstance(x, Node) else x for x in self.leaves], self.spec)


# --- what a function would be as a graph ---------------------------------------------------------------------------


class ExplainOutput:
    """What :func:`explain` finds out: graphs, and why there is none."""

    def __init__(self, graphs: list[GraphModule], break_reasons: list[str]) -> None:
        self.graphs, self.break_reasons = graphs, break_reasons
        self.graph_count, self.graph_break_count = len(graphs), len(break_reasons)
        self.ops_per_graph = [[n.target for n in g.graph.nodes if n.op.startswith("call_")] for g in graphs]
        self.op_count = sum(map(len, self.ops_per_graph))

    def __str__(self) -> str:
        reasons = "".join(f"\n  Break Reason {i}:\n    Reason: {reason}" for i, reason in enumerate(self.break_reasons, 1))
        ops = "".join(
            f"\n  Ops {i}:" + "".join(f"\n    {getattr(op, '__name__', op)}" for op in of)
            for i, of in enumerate(self.ops_per_graph, 1)
        )
        return (
            f"Graph Count: {self.graph_count}\nGraph Break Count: {self.graph_break_count}\nOp Count: {self.op_count}\n"
            f"Break Reasons:{reasons}\nOps per Graph:{ops}"
        )


def explain(f: Callable, *extra_args: Any, **extra_kwargs: Any) -> Any:
    """A function of arguments that says which graph ``f`` is for them, or why it is none.

    >>> import flambeau as torch
    >>> found = torch._dynamo.explain(lambda x: x.sin() + 1)(torch.ones(2))
    >>> found.graph_count, found.graph_break_count, found.op_count
    (1, 0, 2)
    >>> found = torch._dynamo.explain(lambda x: x + 1 if x.sum() > 0 else x)(torch.ones(2))
    >>> found.graph_count, found.break_reasons[0].partition(" (")[0]
    (0, 'it looks at values')
    """

    def inner(*args: Any, **kwargs: Any) -> ExplainOutput:
        graphs: list[GraphModule] = []
        reasons: list[str] = []

        def backend(gm: GraphModule, inputs: list[Tensor]) -> Callable:
            graphs.append(gm)
            return gm.forward

        function = getattr(f, "_torchdynamo_orig_callable", f)
        captures = GraphCaptures(function, getattr(f, "__qualname__", type(f).__name__), True, backend)
        for _ in range(2):  # a function that writes to tensors is traced by its second call
            try:
                captures.call(args, kwargs, [])
            except Unsupported as error:
                reasons = [str(error).rpartition("asks: ")[2]]
        return ExplainOutput(graphs, reasons)

    return inner(*extra_args, **extra_kwargs) if extra_args or extra_kwargs else inner
