"""Arguments whose values nobody knows.

They are nodes of an op of their own, which refuses to be run. So whatever would look at a value while a model runs is refused by
name, and what has been recorded holds for all values. In the end these nodes get the values of the example, and what was recorded
is pending as it would be after any other call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from flambeau.autograd import no_grad
from flambeau.core import config
from flambeau.core.dtypes import from_numpy
from flambeau.core.size import Size
from flambeau.engine import flight, graph
from flambeau.engine.graph import NO_ATTRS, EngineOp, Node
from flambeau.engine.run import run_pending
from flambeau.export.exported_program import argument_names
from flambeau.nn import Module
from flambeau.tensor.storage import storage_of
from flambeau.tensor.tensor import make_tensor


class ExportError(RuntimeError):
    """A model that cannot be exported as it is; the message says why."""


def names_of_arguments(model: Callable, args: tuple, kwargs: dict[str, Any]) -> list[str]:
    """What the model calls the arguments that it is given."""
    return argument_names(model.forward if isinstance(model, Module) else model, args, kwargs)


@contextmanager
def unknown_values(values: dict[int, np.ndarray], names: list[str]) -> Iterator[dict[int, Node]]:
    """Nodes whose values nobody knows as long as this lasts; then they have ``values``. What is called meanwhile is recorded, and
    no more."""
    run_pending()
    flight.land()
    eager, config.eager, config.values_unknown = config.eager, False, True
    nodes = {i: Node(ARGUMENT, (), {"name": names[i]}, value.shape, from_numpy(value.dtype)) for i, value in values.items()}
    try:
        with no_grad():
            yield nodes
    finally:
        config.eager, config.values_unknown = eager, False
        asked = [i for i, node in nodes.items() if node.value is not None]
        for i, node in nodes.items():
            if node in graph.trace:
                graph.trace.remove(node)
            node.value, node.op, node.attrs = values[i], None, NO_ATTRS
    for i in asked:  # somebody has caught the error
        _refuse(names[i])


def with_unknown(leaves: list[Any], unknown: dict[int, Node]) -> list[Any]:
    """Arguments, with tensors of nodes in the places of some."""
    found = list(leaves)
    for i, node in unknown.items():
        found[i] = make_tensor(storage_of(node), Size(node.shape), node.dtype)
    return found


def _refuse(name: str) -> NoReturn:
    raise ExportError(
        f"the model looks at values that depend on its argument {name!r} while it runs (item, tolist, bool, a size that depends on values, ...): "
        "what it would do next cannot be known when it is exported"
    )


ARGUMENT = EngineOp("argument", _refuse)
"""What stands for an argument: no inputs, and a value that is not known."""
