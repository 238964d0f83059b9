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

    def prepare(self, variable: Tensor, value: Value, stores: Stores) -> None:
        """Notes what is to be stored to add a gradient, given as the node of its value."""
        before = variable._grad
        if before is None:
            grad = self.tensor(value)
            stores.add(variable, "_grad", grad if variable._strides is None else laid_out_as(variable, grad))
            return
        storage = before._storage
        alike = self.sum is not None and (before._layout or dispatch.layout_of(before)) is self.layout
        if not alike or storage.exposed or storage in stores.storages:  # two leaves may have the same gradient
            stores.later.append((self, variable, value))
            return
        node = _new(Value)
        node.op, node.attrs, node.shape, node.dtype, node.kind = self.sum  # type: ignore[misc]
        node.inputs = storage.node, value
        trace.append(node)
        stores.storages.add(storage)
        stores.written += storage.prepare()
        stores.objects += (storage, storage)
        stores.names += ("node", "version")
        stores.values += (node, storage.version + 1)


class Stores:
    """What a backward pass stores in leaves, all in one step: a signal handler that raises, or looks at gradients, comes before
    or after it. Only gradients of half precision, and those whose memory somebody else can see, are added one by one.
    """

    __slots__ = ("later", "names", "objects", "storages", "values", "written")

    def __init__(self) -> None:
        self.storages: set[Storage] = set()
        self.objects: list = []
        self.names: list[str] = []
        self.values: list = []
        self.written: list = []
        self.later: list[tuple] = []

    def add(self, object, name: str, value) -> None:
        self.objects.append(object)
        self.names.append(name)
        self.values.append(value)

    def store(self) -> None:
        calls = map(setattr, self.objects, self.names, self.values)
        graph.written += self.written
        deque(calls, 0)  # a single call of C
        for accumulation, variable, value in self.later:
            _add(accumulation.tensor(value), variable._grad)


def add_all(gradients: Iterable[tuple[Tensor, Value]]) -> None:
    """Adds gradients, given as the nodes of their values, to leaves that are all different; see :class:`Stores`."""
    stores = Stores()
    for variable, value in gradients:
        accumulation_of(value.shape, value.dtype).prepare(variable, value, stores)
    stores.store()


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
    if order == list(range(len(order))):
        return grad.contiguous()
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
