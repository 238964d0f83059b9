"""The graph that TensorBoard shows of a module: its operators, each in the module that calls it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from flambeau._C.graph import Graph, Value, _get_trace_graph, tracing_state
from flambeau.nn import Module
from flambeau.utils.tensorboard import messages as m

__all__ = ["graph", "onnx_graph"]


def graph(model: Any, args: Any, verbose: bool = False) -> tuple[Any, Any]:
    """A ``GraphDef`` of a call of ``model`` in evaluation mode, and a ``RunMetadata`` that says that it ran on a CPU."""
    training = model.training
    hooks = [
        hook
        for name, part in model.named_modules()
        for hook in _scopes(part, type(part).__name__ + (f"[{name.rpartition('.')[2]}]" if name else ""))
    ]
    model.eval()
    try:
        traced, _ = _get_trace_graph(model, args)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    if verbose:
        print(traced)
    stats = m.RunMetadata(step_stats=m.StepStats(dev_stats=[m.DeviceStepStats(device="/device:CPU:0")]))
    return m.GraphDef(node=_nodes(traced, model), versions=m.VersionDef(producer=22)), stats


def _scopes(module: Module, name: str) -> list[Any]:
    """Hooks by which what a module calls is in its scope."""

    def enter(*_: Any) -> None:
        tracing_state().push_scope(name)

    def leave(*_: Any) -> None:
        tracing_state().pop_scope()

    return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, always_call=True)]


def _nodes(traced: Graph, model: Module) -> list[Any]:
    top = type(model).__name__
    state = {id(t): name for name, t in model.state_dict(keep_vars=True).items()}
    names: dict[Value, str] = {}
    found = []
    for value in traced.inputs():
        path = None if value.identity is None else state.get(value.identity)
        if not value.uses():
            continue
        names[value] = f"input/{value.debugName()}" if path is None else f"{top}/{_parameter(model, path)}"
        found.append(_message(names[value], "IO Node" if path is None else "Parameter", [], value))
    for node in traced.nodes():
        for value in node.outputs():
            names[value] = f"{node.scopeName() or top}/{value.debugName()}"
            attributes = str({key: getattr(node, node.kindOf(key))(key) for key in node.attributeNames()}).replace("'", " ")
            found.append(_message(names[value], node.kind(), [names[v] for v in node.inputs()], value, attributes))
    for i, value in enumerate(traced.outputs()):
        found.append(_message(f"output/output.{i + 1}", "IO Node", [names[value]], value))
    return found


def _parameter(model: Module, path: str) -> str:
    """The place of a parameter: the modules on the way to it, and its name."""
    *way, name = path.split(".")
    parts, at = [], model
    for step in way:
        at = getattr(at, step)
        parts.append(f"{type(at).__name__}[{step}]")
    return "/".join([*parts, name])


def _message(name: str, kind: str, inputs: Sequence[str], value: Value, attributes: str = "") -> Any:
    attr = {"attr": m.AttrValue(s=attributes)}
    sizes = value.type().sizes()
    if sizes is not None:
        attr["_output_shapes"] = m.AttrValue(list=m.Shapes(shape=[m.TensorShapeProto(dim=[m.Dim(size=n) for n in sizes])]))
    return m.NodeDef(name=name, op=kind, input=inputs, attr=attr)


def onnx_graph(path: str | os.PathLike) -> Any:
    """A ``GraphDef`` of a file of ONNX's."""
    import onnx

    graph = onnx.load(path).graph
    ends = [
        m.NodeDef(name=v.name, op="Variable", input=[], attr={"dtype": m.AttrValue(s="")}) for v in [*graph.input, *graph.output]
    ]
    nodes = [
        m.NodeDef(
            name=n.output[0],
            op=n.op_type,
            input=list(n.input),
            attr={"parameters": m.AttrValue(s=" ".join(str(a) for a in n.attribute))},
        )
        for n in graph.node
    ]
    return m.GraphDef(node=ends + nodes, versions=m.VersionDef(producer=22))
