"""``torch.memory_format`` and ``torch.layout``: names for orders of a tensor's elements in memory."""

from __future__ import annotations

from flambeau.core import config
from flambeau.core.size import contiguous_strides, strides_in_order


class memory_format:
    """An order of dims in memory, such as ``torch.channels_last``."""

    __slots__ = ("name", "orders")

    def __init__(self, name: str, orders: dict[int, tuple[int, ...]]) -> None:
        self.name = name
        self.orders = orders  # by number of dims: the dims from the outermost in memory to the innermost

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self):
        return (_named, (self.name,)) if config.pickled is None else config.pickled(self)

    def order(self, ndim: int) -> tuple[int, ...]:
        """The dims from the outermost in memory to the innermost."""
        if not self.orders:
            return tuple(range(ndim))
        if ndim not in self.orders:
            raise RuntimeError(f"required rank {next(iter(self.orders))} tensor to use {self.name} format")
        return self.orders[ndim]

    def strides(self, shape) -> tuple[int, ...]:
        """The strides of a tensor of ``shape`` without gaps whose dims are in this order."""
        return strides_in_order(shape, self.order(len(shape)))

    def matches(self, shape, strides) -> bool:
        """Whether a tensor of this shape and strides is in this order."""
        if self.orders and len(shape) not in self.orders:
            return False
        order = self.order(len(shape))
        expected = contiguous_strides(tuple(shape[d] for d in order))
        return all(shape[d] == 1 or strides[d] == e for d, e in zip(order, expected, strict=True))


memory_format.__module__ = "torch"
contiguous_format = memory_format("contiguous_format", {})
preserve_format = memory_format("preserve_format", {})
channels_last = memory_format("channels_last", {4: (0, 2, 3, 1)})
channels_last_3d = memory_format("channels_last_3d", {5: (0, 2, 3, 4, 1)})


class layout:
    """How a tensor is stored: ``torch.strided``, ``torch.sparse_coo``, ``torch.sparse_csr``, ``torch.sparse_csc``."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def is_sparse(self) -> bool:
        """Whether only some elements are stored, with their places."""
        return self.name.startswith("sparse")

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self):
        return (_named, (self.name,)) if config.pickled is None else config.pickled(self)


layout.__module__ = "torch"
strided = layout("strided")
sparse_coo = layout("sparse_coo")
sparse_csr = layout("sparse_csr")
sparse_csc = layout("sparse_csc")
sparse_bsr = layout("sparse_bsr")
sparse_bsc = layout("sparse_bsc")
jagged = layout("jagged")

_ALL = {
    x.name: x
    for x in (
        contiguous_format,
        preserve_format,
        channels_last,
        channels_last_3d,
        strided,
        sparse_coo,
        sparse_csr,
        sparse_csc,
        sparse_bsr,
        sparse_bsc,
        jagged,
    )
}


def _named(name: str) -> memory_format | layout:
    return _ALL[name]
