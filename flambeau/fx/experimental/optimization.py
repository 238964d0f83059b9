"""``torch.fx.experimental.optimization``: graphs made ready for inference."""

from __future__ import annotations

import copy
from typing import Any

from flambeau.fx._symbolic_trace import Tracer
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node
from flambeau.nn.modules import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    Conv1d,
    Conv2d,
    Conv3d,
    Dropout,
    Dropout2d,
    Dropout3d,
)
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["fuse", "matches_module_pattern", "remove_dropout", "replace_node_module"]


def _parent_name(target: str) -> tuple[str, str]:
    """``"a.b.c"`` as ``("a.b", "c")``."""
    parent, _, name = target.rpartition(".")
    return parent, name


def matches_module_pattern(pattern: tuple[type, ...], node: Node, modules: dict[str, Any]) -> bool:
    """Whether a node calls a module of the last type, of what one of the first type gives."""
    if not node.args:
        return False
    for kind, n in zip(pattern, (node.args[0], node), strict=True):
        if not isinstance(n, Node) or n.op != "call_module" or type(modules.get(n.target)) is not kind:
            return False
    return True


def replace_node_module(node: Node, modules: dict[str, Any], new_module: Module) -> None:
    """Puts another module where a node's is."""
    parent, name = _parent_name(node.target)
    modules[node.target] = new_module
    setattr(modules[parent], name, new_module)


def fuse(model: Module, inplace: bool = False, no_trace: bool = False) -> GraphModule:
    """The module, in evaluation mode, with batch normalisation folded into the convolutions before it.

    >>> import flambeau as torch
    >>> from flambeau.fx.experimental.optimization import fuse
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).eval()
    >>> fused, x = fuse(net), torch.ones(1, 1, 5, 5)
    >>> len(fused.graph.nodes), torch.allclose(fused(x), net(x))
    (3, True)
    """
    if not inplace:
        model = copy.deepcopy(model)
    traced = model if no_trace and isinstance(model, GraphModule) else GraphModule(model, Tracer().trace(model))
    modules: dict[str, Any] = dict(traced.named_modules())
    for pattern in [(Conv1d, BatchNorm1d), (Conv2d, BatchNorm2d), (Conv3d, BatchNorm3d)]:
        for node in list(traced.graph.nodes):
            if not matches_module_pattern(pattern, node, modules) or len(node.args[0].users) > 1:
                continue
            conv, norm = modules[node.args[0].target], modules[node.target]
            if not norm.track_running_stats:
                continue
            replace_node_module(node.args[0], modules, fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    return GraphModule(traced, traced.graph)


def remove_dropout(model: Module) -> Module:
    """The module without its dropout layers."""
    traced = GraphModule(model, Tracer().trace(model))
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and isinstance(modules.get(node.target), (Dropout, Dropout2d, Dropout3d)):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    return GraphModule(traced, traced.graph)
