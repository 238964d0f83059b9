"""What is known of values that have not been computed: between which numbers they lie, by how they are made.

An op that may refuse its values looks at them when it is called, as PyTorch's do, and where they are pending what is pending
runs. It need not where they cannot be wrong, and so such a step stays one trace: an index that ``argmax`` has found, a
probability that ``sigmoid`` gives.
"""

from __future__ import annotations

from numpy import ndarray

from flambeau.core.dtypes import FLOATING
from flambeau.engine.graph import PROJECT, VIEW, Node
from flambeau.engine.interpreter import Failed

_PLACES = ("argmax", "argmin", "argsort")
_RESULTS_AND_PLACES = ("aten.max", "aten.min", "aten.median", "topk", "sort", "kthvalue", "mode")
_PROBABILITIES = ("sigmoid", "softmax", "nn.functional.hardsigmoid")


def is_index_of(x, n: int) -> bool:
    """Whether all elements of a pending tensor are places among ``n``, which follows from what has found them."""
    node = x._storage.node
    if node.dtype is not x._dtype:
        return False
    limit = _limit(_seen(node))
    return limit is not None and limit <= n


def _limit(node: Node) -> int | None:
    """The number that all elements are below, none being negative; ``None``: not known."""
    inputs = node.inputs
    if node.op is PROJECT and node.attrs["index"] == 1 and inputs[0].op is not None:
        node = inputs[0]
        found = node.op.name in _RESULTS_AND_PLACES
    else:
        found = node.op is not None and node.op.name in _PLACES
    if not found:
        return None
    shape, dim = node.inputs[0].shape, node.attrs["dim"]
    return shape.numel() if dim is None else shape[dim] if shape else 1


def are_probabilities(nodes: tuple) -> bool:
    """Whether all elements of the first two inputs are between 0 and 1, or NaN where it is not known yet."""
    for x in nodes[:2]:
        value = x.value
        if value is None and not (x.op is not VIEW and x.op.name in _PROBABILITIES):
            return False
        if value is not None and not (value.__class__ is ndarray and ((value >= 0) & (value <= 1)).all()):
            return False
    return True


def can_divide(nodes: tuple) -> bool:
    """Whether a quotient is one of floating-point numbers, or is by numbers that are known and not zero."""
    if any([x.__class__ is Node and x.dtype.kind >= FLOATING for x in nodes]):
        return True
    divisor = nodes[1]
    value = divisor.value if divisor.__class__ is Node else divisor
    return bool(value.all()) if value.__class__ is ndarray else value.__class__ is not Failed and bool(value)


def _seen(node: Node) -> Node:
    """What a view shows."""
    while node.op is VIEW:
        node = node.inputs[0]
    return node
