"""The shapes of all values of a graph, by running it."""

from __future__ import annotations

from typing import Any, NamedTuple

from flambeau.core.dtypes import dtype
from flambeau.core.memory_format import channels_last, channels_last_3d, contiguous_format, memory_format
from flambeau.core.size import Size
from flambeau.fx.interpreter import Interpreter
from flambeau.fx.node import Node, map_aggregate
from flambeau.tensor import Tensor

__all__ = ["ShapeProp", "TensorMetadata"]


class TensorMetadata(NamedTuple):
    """What is known of a tensor besides its values."""

    shape: Size
    dtype: dtype
    requires_grad: bool
    stride: tuple[int, ...]
    memory_format: memory_format | None
    is_quantized: bool
    qparams: dict[str, Any]


def _extract_tensor_metadata(result: Tensor, include_contiguity: bool = True) -> TensorMetadata:
    order = None
    if include_contiguity:
        order = next(
            (f for f in (contiguous_format, channels_last, channels_last_3d) if result.is_contiguous(memory_format=f)), None
        )
    return TensorMetadata(result.shape, result.dtype, result.requires_grad, result.stride(), order, False, {})


class ShapeProp(Interpreter):
    """Runs a graph and writes ``meta["tensor_meta"]`` and ``meta["type"]`` of its nodes.

    >>> import flambeau as torch
    >>> from flambeau.fx.passes.shape_prop import ShapeProp
    >>> traced = torch.fx.symbolic_trace(torch.nn.Linear(4, 5))
    >>> _ = ShapeProp(traced).propagate(torch.ones(2, 4))
    >>> [tuple(node.meta["tensor_meta"].shape) for node in traced.graph.nodes]
    [(2, 4), (5, 4), (5,), (2, 5), (2, 5)]

    Source: https://docs.pytorch.org/docs/stable/fx.html
    """

    def __init__(self, gm: Any, fake_mode: Any = None) -> None:
        super().__init__(gm)
        if fake_mode is not None:
            raise NotImplementedError("ShapeProp: without fake_mode; give it tensors")

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        found = False

        def extract(x: Any) -> Any:
            nonlocal found
            if isinstance(x, Tensor):
                found = True
                return _extract_tensor_metadata(x)
            return x

        meta = map_aggregate(result, extract)
        if found:
            n.meta["tensor_meta"] = meta
        n.meta["type"] = type(result)
        return result

    def propagate(self, *args: Any) -> Any:
        """Runs the graph on example arguments."""
        return super().run(*args)
