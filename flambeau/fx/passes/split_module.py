"""Cutting a graph into modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule, _copy_attr
from flambeau.fx.node import Node, map_arg
from flambeau.nn.modules.module import Module

__all__ = ["Partition", "split_module"]


class Partition:
    """A part of a graph: its nodes, the values that it needs, and those that others need of it."""

    def __init__(self, name: str) -> None:
        self.name, self.submod_name = name, f"submod_{name}"
        self.node_names: list[str] = []
        self.inputs: dict[str, None] = {}
        self.outputs: dict[str, None] = {}
        self.graph = Graph()
        self.environment: dict[Node, Node] = {}


def split_module(
    m: GraphModule, root_m: Module, split_callback: Callable[[Node], Any], qualname_map: dict[str, str] | None = None,
    keep_original_order: bool | None = False, keep_original_node_name: bool | None = False, keep_original_input_name: bool = True,
    *, partition_affix: str | None = None, tuple_return: bool = False,
) -> GraphModule:  # fmt: skip
    """A module that calls a submodule for each part of ``m``; ``split_callback`` says which part a node belongs to.

    >>> import flambeau as torch
    >>> from flambeau.fx.passes.split_module import split_module
    >>> traced = torch.fx.symbolic_trace(lambda x: (x + 1).relu() * 2)
    >>> parts = split_module(traced, torch.nn.Module(), lambda node: int(node.name == "mul"))
    >>> [name for name, _ in parts.named_children()], parts(torch.zeros(1))
    (['submod_0', 'submod_1'], tensor([2.]))
    """
    parts: OrderedDict[str, Partition] = OrderedDict()
    part_of: dict[Node, str] = {}
    for node in m.graph.nodes:
        if node.op in ("placeholder", "output", "get_attr"):
            continue
        name = str(split_callback(node))
        part = parts.setdefault(name, Partition(f"{partition_affix}_{name}" if partition_affix else name))
        part.node_names.append(node.name)
        part_of[node] = name
    needs: dict[str, OrderedDict[Node, None]] = {name: OrderedDict() for name in parts}
    gives: dict[str, OrderedDict[Node, None]] = {name: OrderedDict() for name in parts}
    for node in m.graph.nodes:
        mine = part_of.get(node)
        for used in node.all_input_nodes:
            theirs = part_of.get(used)
            if theirs is not None and theirs != mine:
                gives[theirs][used] = None
            if mine is not None and theirs != mine and used.op != "get_attr":
                needs[mine][used] = None
    order = _order({name: {part_of[n] for n in needs[name] if n in part_of} for name in parts})
    whole = Graph()
    values: dict[Node, Any] = {}
    for node in m.graph.nodes:
        if node.op == "placeholder":
            values[node] = whole.node_copy(node, lambda n: values[n])
    base = Module()
    for name in order:
        part = parts[name]
        env = part.environment
        for used in needs[name]:
            env[used] = part.graph.placeholder(used.name, type_expr=used.type)
            env[used].meta = dict(used.meta)
            part.inputs[used.name] = None
        for node in m.graph.nodes:
            if part_of.get(node) != name:
                continue
            for used in node.all_input_nodes:
                if used.op == "get_attr" and used not in env:
                    env[used] = part.graph.node_copy(used)
                    _copy_to(m, base, part.submod_name, used.target, qualname_map)
            if node.op == "call_module":
                _copy_to(m, base, part.submod_name, node.target, qualname_map)
            env[node] = part.graph.node_copy(node, env.__getitem__)
        results = [env[n] for n in gives[name]]
        part.outputs = {n.name: None for n in gives[name]}
        part.graph.output(tuple(results) if len(results) != 1 or tuple_return else results[0])
        held = getattr(base, part.submod_name, None) or Module()
        setattr(base, part.submod_name, GraphModule(held, part.graph))
        call = whole.call_module(part.submod_name, tuple(values[n] for n in needs[name]))
        if len(results) == 1 and not tuple_return:
            values[next(iter(gives[name]))] = call
        else:
            import operator

            for i, node in enumerate(gives[name]):
                values[node] = whole.call_function(operator.getitem, (call, i))
    output = m.graph.output_node()
    for used in output.all_input_nodes:
        if used.op == "get_attr" and used not in values:
            values[used] = whole.node_copy(used)
            _copy_attr(m, base, used.target)
    whole.output(map_arg(output.args[0], lambda n: values[n]), type_expr=output.type)
    return GraphModule(base, whole)


def _copy_to(source: Module, base: Module, name: str, target: str, names: dict[str, str] | None) -> None:
    if getattr(base, name, None) is None:
        setattr(base, name, Module())
    _copy_attr(source, getattr(base, name), target)
    if names is not None:
        names[f"{name}.{target}"] = target


def _order(needs: dict[str, set[str]]) -> list[str]:
    """The parts such that each comes behind those that it needs; in the order given where that is free."""
    done: list[str] = []
    left = list(needs)
    while left:
        ready = next((name for name in left if needs[name] <= set(done)), None)
        if ready is None:
            raise RuntimeError("cycle exists between partitions!")
        done.append(ready)
        left.remove(ready)
    return done
