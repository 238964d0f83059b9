"""``torch.fx``: programs as graphs that can be read, changed and run.

:func:`symbolic_trace` calls a module or function with :class:`Proxy` objects and writes down what is done with them, as a
:class:`Graph` of calls; :class:`GraphModule` makes code of a graph again. :class:`Interpreter` runs a graph node by node,
:class:`Transformer` makes another of it, :func:`replace_pattern` replaces parts.

>>> import flambeau as torch
>>> traced = torch.fx.symbolic_trace(lambda x: torch.relu(x) + 1)
>>> print(traced.code.strip())
def forward(self, x):
    relu = torch.relu(x);  x = None
    add = relu + 1;  relu = None
    return add

Source: https://docs.pytorch.org/docs/stable/fx.html
"""

from flambeau.fx import (
    _pytree,
    config,
    graph_module,
    immutable_collections,
    interpreter,
    node,
    operator_schemas,
    proxy,
    traceback,
)
from flambeau.fx._symbolic_trace import (
    PH,
    ProxyableClassMeta,
    Tracer,
    is_fx_symbolic_tracing,
    is_fx_tracing,
    symbolic_trace,
    wrap,
)
from flambeau.fx.graph import CodeGen, Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.interpreter import Interpreter, Transformer
from flambeau.fx.node import Node, has_side_effect, map_arg
from flambeau.fx.proxy import Proxy
from flambeau.fx.subgraph_rewriter import replace_pattern

__all__ = [
    "CodeGen", "Graph", "GraphModule", "Interpreter", "Node", "PH", "Proxy", "ProxyableClassMeta", "Tracer", "Transformer", "has_side_effect",
    "is_fx_symbolic_tracing", "is_fx_tracing", "map_arg", "replace_pattern", "symbolic_trace", "wrap",
]  # fmt: skip
