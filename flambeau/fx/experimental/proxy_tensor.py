"""``torch.fx.experimental.proxy_tensor``: graphs of what a function calls for example arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core import nests
from flambeau.fx.conversion import graph_of
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule, _assign_attr
from flambeau.jit.tracing import record, text_of_path
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = ["get_proxy_mode", "make_fx"]


def get_proxy_mode() -> None:
    """None: no mode of tracing is on; :func:`make_fx` observes calls."""


def make_fx(
    f: Callable, decomposition_table: Any = None, tracing_mode: str = "real", _allow_non_fake_inputs: bool = False, *, pre_dispatch: bool = False,
    record_module_stack: bool = False, _allow_fake_constant: bool = False, _error_on_data_dependent_ops: bool = True,
) -> Callable[..., GraphModule]:  # fmt: skip
    """A function of example arguments that returns a GraphModule of the ops that ``f`` calls for them.

    Branches are those that the example takes. Sizes are numbers, with ``tracing_mode="symbolic"`` those of the arguments. Gradients
    that ``f`` computes by ``torch.func`` or ``autograd.grad`` are not among the calls.

    >>> import flambeau as torch
    >>> from flambeau.fx.experimental.proxy_tensor import make_fx
    >>> print(make_fx(lambda x: torch.relu(x) + 1)(torch.ones(2)).code.strip())
    def forward(self, x_1):
        relu = torch.relu(x_1);  x_1 = None
        add = torch.add(relu, 1);  relu = None
        return add
    """
    if tracing_mode not in ("real", "fake", "symbolic"):
        raise AssertionError(f"tracing_mode must be 'real', 'fake' or 'symbolic', got {tracing_mode!r}")

    def trace(*args: Any) -> GraphModule:
        leaves, spec = nests.tree_flatten(args)
        code = getattr(getattr(f, "__wrapped__", f), "__code__", None)
        own = (
            code.co_varnames[: code.co_argcount]
            if code is not None and code.co_argcount == len(leaves)
            else [f"arg{i}" for i in range(len(leaves))]
        )
        names = [f"{name}_1" for name in own]
        root = f if isinstance(f, Module) else None

        def flat(*given: Any) -> Any:
            return f(*nests.tree_unflatten(given, spec))

        found, _, reason = record(flat, root, tuple(leaves), {}, "forward", names, tracing_mode == "symbolic")
        if found is None:
            raise RuntimeError(f"make_fx: {reason}")
        graph, held = Graph(), Module()
        places: dict[str, Any] = {name: graph.placeholder(name) for name in names}
        attributes = {f"CONSTANTS.c{i}": (f"_tensor_constant{i}", t) for i, t in enumerate(found.constants)}
        for path, module in root.named_modules() if root is not None else ():
            for name, value in [*module._parameters.items(), *module._buffers.items(), *module.__dict__.items()]:
                if isinstance(value, Tensor):
                    full = f"{path}.{name}" if path else name
                    attributes[text_of_path(full)] = (full, value)

        def place_of(text: str) -> Any:
            if text not in places:
                name, value = attributes[text]
                _assign_attr(value, held, name)
                places[text] = graph.get_attr(name)
            return places[text]

        returned, _ = graph_of(found.source, graph, place_of)
        graph.output(returned)
        return GraphModule(held, graph, getattr(f, "__name__", type(f).__name__).replace("<lambda>", "Lambda"))

    return trace
