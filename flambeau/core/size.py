"""``torch.Size``: the shape of a tensor, a tuple of ints that knows its number of elements."""

from __future__ import annotations

from math import prod


class Size(tuple):
    """A tensor's shape: behaves as a tuple; ``numel()`` is the product of its entries.

    >>> import flambeau as torch
    >>> torch.zeros(2, 3).shape
    torch.Size([2, 3])
    """

    __slots__ = ()

    def numel(self) -> int:
        return prod(self)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(repr, self))}])"

    def __getitem__(self, index):  # type: ignore[override]
        item = tuple.__getitem__(self, index)
        return Size(item) if type(index) is slice else item

    def __add__(self, other):  # type: ignore[override]
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other):
        return Size(tuple(other) + tuple(self))

    def __mul__(self, n):  # type: ignore[override]
        return Size(tuple.__mul__(self, n))

    __rmul__ = __mul__

    def __reduce__(self):
        return (Size, (tuple(self),))


Size.__module__ = "torch"


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a row-major tensor; an extent of 0 counts as 1, as in PyTorch."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n if n > 1 else 1
    return tuple(strides[::-1])


def broadcast_shapes(*shapes: tuple[int, ...]) -> Size:
    """The shape that all ``shapes`` broadcast to; ``RuntimeError`` where they don't."""
    ndim = max(map(len, shapes), default=0)
    out = [1] * ndim
    for shape in shapes:
        for i, n in enumerate(shape, ndim - len(shape)):
            if n != 1 and n != out[i]:
                if out[i] != 1:
                    raise broadcast_error(shapes, i)
                out[i] = n
    return Size(out)


def broadcast_error(shapes, i: int) -> RuntimeError:
    ndim = max(map(len, shapes))
    sizes = [s[i - (ndim - len(s))] for s in shapes if i >= ndim - len(s)]
    differing = [n for n in sizes if n != 1]
    a, b = differing[0], next(n for n in differing if n != differing[0])
    listed = " and ".join(str(list(s)) for s in shapes)
    return RuntimeError(
        f"The size of tensor a ({a}) must match the size of tensor b ({b}) at non-singleton dimension {i}: "
        f"shapes {listed} do not broadcast (aligned at the right, sizes must be equal or 1)"
    )


def wrap_dim(dim: int, ndim: int) -> int:
    """``dim`` counted from the front; ``IndexError`` as PyTorch's where it is out of range (0-dim counts as 1-dim)."""
    n = ndim or 1
    if -n <= dim < n:
        return dim + n if dim < 0 else dim
    raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
