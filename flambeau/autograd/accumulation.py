"""How gradients get into leaves' ``.grad``: in few steps, since this is done for each parameter and pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.size import Size
from flambeau.engine import graph
from flambeau.engine.graph import Node as Value
from flambeau.engine.graph import leaf, trace
from flambeau.tensor.formulas import Update, formula
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor, make_tensor

_new = object.__new__


@formula
def sum_of(x, grad, more):
    """A gradient and what a further pass adds to it."""
    return x.add(grad, more)


_add = Update(lambda numbers, more, grad: (sum_of(grad, more),))


class Accumulation:
    """How gradients of one shape and dtype get into leaves' ``.grad``."""

    __slots__ = ("dtype", "layout", "shape", "sum")

    def __init__(self, shape, dtype: dtypes.dtype) -> None:
        self.shape, self.dtype, self.layout = Size(shape), dtype, None
        value = leaf(None, self.shape, dtype)  # type: ignore[arg-type]
        self.layout = dispatch.layout_of(self.tensor(value))
        self.sum = None  # half precision is rounded after each operation, as in PyTorch
        if dtype is dtypes.float32 or dtype is dtypes.float64:
            node = sum_of.node((value, value), self.shape, dtype)
            self.sum = node.op, node.attrs, node.shape, node.dtype, node.kind

    def tensor(self, value: Value) -> Tensor:
        """A gradient that shares the value, not the memory: a storage copies when somebody else's memory holds it."""
        t = _new(Tensor)
        t._storage = storage = _new(Storage)
        storage.node = value
        t._shape, t._dtype, t._layout = self.shape, self.dtype, self.layout
        return t

    def prepare(self, variable: Tensor, value: Value, stores: list, written: dict[Storage, tuple]) -> bool:
        """Notes what is to be stored to add a gradient, given as the node of its value; whether that is all."""
        before = variable._grad
        if before is None:
            grad = self.tensor(value)
            stores.append((variable, "_grad", grad if variable._strides is None else laid_out_as(variable, grad)))
            return True
        storage = before._storage
        if self.sum is None or (before._layout or dispatch.layout_of(before)) is not self.layout or storage.exposed:
            return False
        if storage in written:  # two leaves have the same gradient
            return False
        node = _new(Value)
        node.op, node.attrs, node.shape, node.dtype, node.kind = self.sum
        node.inputs = storage.node, value
        trace.append(node)
        written[storage] = storage.prepare()
        stores += ((storage, "node", node), (storage, "version", storage.version + 1))
        return True


def add_all(gradients: Iterable[tuple[Tensor, Value]]) -> None:
    """Adds gradients, given as the nodes of their values, to leaves that are all different.

    It is one step: a signal handler that raises, or looks at gradients, comes before or after all of them. Only gradients of
    half precision and those that somebody else can see the memory of come one by one.
    """
    stores: list[tuple] = []
    written: dict[Storage, tuple] = {}
    later = []
    for variable, value in gradients:
        accumulation = accumulation_of(value.shape, value.dtype)
        if not accumulation.prepare(variable, value, stores, written):
            later.append((accumulation, variable, value))
    _store_all(stores, [ref for refs in written.values() for ref in refs])
    for accumulation, variable, value in later:
        _add(accumulation.tensor(value), variable._grad)


def _store_all(stores: list[tuple], written: list) -> None:
    """Sets attributes, given as (object, name, value), in a single call of C."""
    if stores:
        calls = map(setattr, *zip(*stores))
        graph.written += written
        deque(calls, 0)


def laid_out_as(variable: Tensor, grad: Tensor) -> Tensor:
    """A first gradient in the memory format of its leaf, if that fills its memory; row by row if not."""
    strides = variable.stride()
    order = sorted(range(len(strides)), key=lambda d: (-strides[d], d))
    dense = 1
    for d in reversed(order):
        if variable._shape[d] != 1:
            if strides[d] != dense:
                return grad.contiguous()
            dense *= variable._shape[d]
    if grad.stride() == strides:
        return grad
    packed = grad.permute(order).contiguous()
    if grad.grad_fn is not None:
        return packed.permute([order.index(d) for d in range(len(order))])
    out = make_tensor(packed._storage, grad._shape, grad._dtype)
    out._strides = variable._strides
    return out


MAX_ACCUMULATIONS = 4096
_accumulations: dict[tuple, Accumulation] = {}


def accumulation_of(shape, dtype: dtypes.dtype) -> Accumulation:
    """The one for gradients of this shape and dtype."""
    found = _accumulations.get((shape, dtype))
    if found is None:
        if len(_accumulations) >= MAX_ACCUMULATIONS:
            _accumulations.clear()
        found = _accumulations[shape, dtype] = Accumulation(shape, dtype)
    return found
