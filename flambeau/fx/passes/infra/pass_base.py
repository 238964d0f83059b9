"""A pass as an object: what it needs, what it does, what must hold afterwards."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

from flambeau.fx.graph_module import GraphModule

__all__ = ["PassBase", "PassResult"]


class PassResult(NamedTuple):
    """What a pass returns: the module, and whether it was changed."""

    graph_module: GraphModule
    modified: bool


class PassBase(abc.ABC):
    """A pass; subclasses define :meth:`call`.

    >>> from flambeau.fx.passes.infra.pass_base import PassBase, PassResult
    >>> class Clean(PassBase):
    ...     def call(self, graph_module):
    ...         return PassResult(graph_module, graph_module.graph.eliminate_dead_code())
    """

    def __call__(self, graph_module: GraphModule) -> PassResult | None:
        self.requires(graph_module)
        result = self.call(graph_module)
        self.ensures(graph_module)
        return result

    @abc.abstractmethod
    def call(self, graph_module: GraphModule) -> PassResult | None:
        """Does the work."""

    def requires(self, graph_module: GraphModule) -> Any:
        """Raises where the module is not as the pass needs it."""
        return None

    def ensures(self, graph_module: GraphModule) -> Any:
        """Raises where the module is not as the pass should have left it."""
        return None
