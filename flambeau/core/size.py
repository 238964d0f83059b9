"""``torch.Size``: the shape of a tensor, a tuple of ints that knows its number of elements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import prod
from typing import SupportsIndex, overload

from flambeau.core import config


class Size(tuple[int, ...]):
    """A tensor's shape: behaves as a tuple; ``numel()`` is the product of its entries.

    >>> import flambeau as torch
    >>> torch.zeros(2, 3).shape
    torch.Size([2, 3])
    """

    __slots__ = ()

    def __new__(cls, sizes=()):
        if sizes.__class__ is Size:
            return sizes
        self = tuple.__new__(cls, sizes)
        for n in self:
            if n.__class__ is not int:
                return tuple.__new__(cls, [_as_int(n, i) for i, n in enumerate(self)])
        return self

    def numel(self) -> int:
        return prod(self)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(repr, self))}])"

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Size: ...
    def __getitem__(self, index):
        item = tuple.__getitem__(self, index)
        return size_of_ints(item) if type(index) is slice else item

    def __add__(self, other):  # type: ignore[override]
        if not isinstance(other, tuple):
            raise TypeError(f"can only concatenate tuple (not {type(other).__name__}) to torch.Size")
        return (size_of_ints if other.__class__ is Size else Size)(tuple.__add__(self, other))

    def __radd__(self, other):
        return Size(other + tuple(self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, n):  # type: ignore[override]
        return Size(tuple.__mul__(self, n))

    __rmul__ = __mul__

    def __reduce__(self):
        if config.pickled is not None:
            return config.pickled(self)
        return _size, (tuple(self),)  # by a function, since the class is called torch.Size


def _as_int(n, position: int) -> int:
    try:
        return n.__index__()
    except (AttributeError, TypeError):
        raise TypeError(f"torch.Size() takes an iterable of 'int' (item {position} is '{type(n).__name__}')") from None


def _size(sizes: tuple) -> Size:
    return Size(sizes)


Size.__module__ = "torch"

size_of_ints: Callable[[tuple[int, ...]], Size] = partial(tuple.__new__, Size)
"""A Size of what is known to be ints, such as the shape of an array."""


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a row-major tensor; an extent of 0 counts as 1, as in PyTorch."""
    rank = len(shape)
    if rank < 2:
        return (1,) * rank
    if rank == 2:
        _, n = shape
        return (n if n > 1 else 1, 1)
    strides, step = [1], 1
    extents = [*shape]  # of which items are had in fewer steps than of a Size
    for d in range(rank - 1, 0, -1):
        n = extents[d]
        if n > 1:
            step *= n
        strides.append(step)
    strides.reverse()
    return tuple(strides)


def may_overlap(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements may lie in one place in memory, as those of windows that overlap do."""
    reach = 0  # of the inner dims
    for stride, n in sorted(zip(strides, shape, strict=True)):
        if n > 1:
            if stride <= reach:
                return True
            reach += (n - 1) * stride
    return False


def strides_in_order(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """The strides of a tensor without gaps whose dims lie in memory in ``order``, from the outermost to the innermost."""
    inner = contiguous_strides(tuple([shape[d] for d in order]))
    return tuple([inner[order.index(d)] for d in range(len(order))])


def memory_order(shape: tuple[int, ...], operands: Iterable[tuple[tuple, tuple]]) -> tuple[int, ...] | None:
    """The dims of an elementwise result from the outermost in memory to the innermost; ``None`` for row-major.

    ``operands`` are the shapes and strides of the inputs. The first that tells two dims apart orders them; a dim
    that is broadcast says nothing. Source: https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch-memory-format
    """
    n = len(shape)
    padded = []
    for own, strides in operands:
        lead = n - len(own)
        padded.append((0,) * lead + tuple([0 if m == 1 != shape[d] else s for d, (m, s) in enumerate(zip(own, strides), lead)]))

    def inside(a: int, b: int) -> int:
        """1 where dim ``a`` should lie inside ``b``, -1 where outside, 0 where no operand tells."""
        for strides in padded:
            s, t = strides[a], strides[b]
            if s and t:
                if s != t:
                    return 1 if s < t else -1
                if shape[b] > shape[a]:
                    return 1
        return 0

    order = list(range(n))
    for at in range(n - 2, -1, -1):  # insertion sort from the innermost; a dim that cannot be told is passed over
        for j in range(at + 1, n):
            told = inside(order[at], order[j])
            if told > 0:
                order[at], order[j] = order[j], order[at]
                at = j
            elif told < 0:
                break
    return None if order == sorted(order) else tuple(order)


def broadcast_shapes(*shapes: tuple[int, ...] | int) -> Size:
    """The shape that all ``shapes`` broadcast to, an int standing for one dim; ``RuntimeError`` where they don't.

    >>> import flambeau as torch
    >>> torch.broadcast_shapes((2, 1), (3,))
    torch.Size([2, 3])
    """
    return broadcast(*[(s,) if isinstance(s, int) else s for s in shapes])


def broadcast(*shapes: tuple[int, ...]) -> Size:
    """:func:`broadcast_shapes` of tuples."""
    ndim = max(map(len, shapes), default=0)
    if shapes and all([shape == shapes[0] for shape in shapes]):
        return Size(shapes[0])
    out = [1] * ndim
    for shape in shapes:
        for i, n in enumerate(shape, ndim - len(shape)):
            if n != 1 and n != out[i]:
                if out[i] != 1:
                    raise broadcast_error(shapes)
                out[i] = n
    return Size(out)


def broadcast_error(shapes) -> RuntimeError:
    """The error for shapes that do not broadcast; it names the last dim where they do not."""
    ndim = max(map(len, shapes))
    for i in range(ndim - 1, -1, -1):
        differing = [s[i - (ndim - len(s))] for s in shapes if i >= ndim - len(s) and s[i - (ndim - len(s))] != 1]
        if len(set(differing)) > 1:
            break
    a, b = differing[0], next(n for n in differing if n != differing[0])
    listed = " and ".join(str(list(s)) for s in shapes)
    return RuntimeError(
        f"The size of tensor a ({a}) must match the size of tensor b ({b}) at non-singleton dimension {i}: "
        f"shapes {listed} do not broadcast (aligned at the right, sizes must be equal or 1)"
    )


def wrap_dim(dim: int, ndim: int) -> int:
    """``dim`` counted from the front; ``IndexError`` as PyTorch's where it is out of range (0-dim counts as 1-dim)."""
    n = ndim or 1
    if dim.__class__ is bool:
        raise TypeError("argument 'dim' must be int, not bool")
    if -n <= dim < n:
        return dim + n if dim < 0 else dim
    raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
