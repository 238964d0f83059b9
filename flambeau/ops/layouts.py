"""In which order the dims of a result lie in memory: PyTorch's rules, of which each record names its own.

A rule is called as ``rule(inputs, shape, attrs)`` with a primitive's inputs, the shape of a result and the settings. It gives
the dims from the outermost in memory to the innermost, or ``None`` for a row-major result. Where all inputs are row-major no
rule is asked, but for those marked ``always``.

Source: https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch-memory-format
"""

from __future__ import annotations

from math import prod

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.size import memory_order, strides_in_order

Order = tuple[int, ...]


def _tensors(inputs) -> list:
    return [x for x in inputs if isinstance(x, dispatch.Tensor)]


def elementwise(inputs, shape, attrs) -> Order | None:
    """That of the inputs, which broadcast; the first that tells two dims apart decides. They are read in this order too."""
    return memory_order(shape, [(t.shape, t.stride()) for t in _tensors(inputs)])


def as_inputs(inputs, shape, attrs) -> Order | None:
    """As :func:`elementwise`, for an op that knows dims by their numbers; row-major where the result is no broadcast of the inputs."""
    tensors = _tensors(inputs)
    return elementwise(inputs, shape, attrs) if all(len(t.shape) <= len(shape) for t in tensors) else None


def as_first(inputs, shape, attrs) -> Order | None:
    """That of the first input, of the same number of dims."""
    return memory_order(shape, [(shape, inputs[0].stride())]) if len(inputs[0].shape) == len(shape) else None


def is_channels_last(shape, strides) -> bool:
    """Whether images (or volumes) have their channels innermost in memory.

    A dim of one element may say something too, and where all are ambiguous the answer is no.
    """
    n = len(shape)
    if n not in (4, 5) or strides[1] == 0:
        return False
    least = 0
    for d in (1, *range(n - 1, 1, -1), 0):
        if shape[d] == 0 or strides[d] < least or d == 0 and least == strides[1]:
            return False
        least = strides[d] * max(shape[d], 1)
    return True


def _order(n: int) -> Order:
    return (0, *range(2, n), 1)


def channels_last(inputs, shape, attrs) -> Order | None:
    """Channels last if the first input's are, of images or volumes."""
    x = inputs[0]
    return _order(len(shape)) if len(x.shape) == len(shape) and is_channels_last(x.shape, x.stride()) else None


def normalised(inputs, shape, attrs) -> Order | None:
    """Channels last if the input is not row-major and could be called channels last: dims of one element do not say otherwise."""
    x = inputs[0]
    if x.is_contiguous():
        return None
    if len(shape) in (4, 5):
        order = _order(len(shape))
        if all(n == 1 or a == b for n, a, b in zip(shape, x.stride(), strides_in_order(shape, order), strict=True)):
            return order
    return channels_last(inputs, shape, attrs)


def images(inputs, shape, attrs) -> Order | None:
    """Channels last if the first input's are, of images only."""
    return channels_last(inputs, shape, attrs) if len(shape) == 4 else None


def volumes(inputs, shape, attrs) -> Order | None:
    """Channels last if the first input's are, of volumes only."""
    return channels_last(inputs, shape, attrs) if len(shape) == 5 else None


def sequences(inputs, shape, attrs) -> Order | None:
    """Channels last if the first input's are, of sequences, which are images of one row."""
    x = inputs[0]
    if len(shape) != 3 or len(x.shape) != 3:
        return None
    (n, c, l), (s, t, u) = x.shape, x.stride()
    return _order(3) if is_channels_last((n, c, 1, l), (s, t, l * u, u)) else None


def pooled(inputs, shape, attrs) -> Order | None:
    """Channels last if the first input's are, of images and sequences."""
    return images(inputs, shape, attrs) or sequences(inputs, shape, attrs)


def joined(inputs, shape, attrs) -> Order | None:
    """Channels last if all inputs' are."""
    return _order(len(shape)) if all([len(x.shape) == len(shape) and channels_last((x,), shape, attrs) for x in inputs]) else None


def stacked(inputs, shape, attrs) -> Order | None:
    """As if the inputs were joined along a dim, and that taken apart then."""
    order, dim = joined(inputs, shape[:-1], attrs), attrs["dim"]
    if order is None or dim == len(shape) - 1:
        return None
    found: list[int] = []
    for d in order:
        found += [d, d + 1] if d == dim else [d + (d > dim)]
    return tuple(found)


_SMALL = 20480


def convolution(inputs, shape, attrs) -> Order | None:
    """Channels last if the first or the second input's are; of sequences, which count as images of one row, the second's.

    PyTorch has kernels for such volumes from a certain size on, and none in float64.
    """
    x, weight = inputs[:2]
    if len(shape) == 3:
        return sequences((weight,), shape, attrs)
    if not any([is_channels_last(t.shape, t.stride()) for t in (x, weight)]):
        return None
    if len(shape) == 5 and (
        x.dtype is dtypes.float64 or (attrs["groups"] == 1 and x.shape[0] == 1 and prod(x.shape[:4]) <= _SMALL)
    ):
        return None
    return _order(len(shape))


def padded(inputs, shape, attrs) -> Order | None:
    """That of the input where nothing is added, channels last if the input's are else."""
    if attrs.get("mode") == "circular":
        return None
    rule = as_first if tuple(inputs[0].shape) == tuple(shape) else channels_last
    return rule(inputs, shape, attrs)


def indexed(inputs, shape, attrs) -> Order | None:
    """That of the dims which are not looked up; those of the index tensors are ordered as these are."""
    x, *indices = inputs
    at = [d for d, i in enumerate(indices) if i is not None]
    tensors = [indices[d] for d in at]
    block = max([len(i.shape) for i in tensors])
    rest = [s for d, s in enumerate(x.stride()) if d not in at]
    first = at[0] if at[-1] - at[0] == len(at) - 1 else 0
    source = (*rest[:first], *(0,) * block, *rest[first:])
    after = len(rest) - first
    seen = [((*i.shape, *(1,) * after), (*i.stride(), *(0,) * after)) for i in tensors]
    return memory_order(shape, [(shape, source), *seen])


def of_real(inputs, shape, attrs) -> Order | None:
    """That of a real input; row-major for a complex one."""
    return None if inputs[0].dtype.is_complex else as_first(inputs, shape, attrs)


def rolled(inputs, shape, attrs) -> Order | None:
    """Channels last if the input's are and dims were named."""
    return None if attrs["dims"] is None else channels_last(inputs, shape, attrs)


def second_first(inputs, shape, attrs) -> Order | None:
    """That of the inputs, where the second one decides first."""
    return as_inputs((inputs[1], inputs[0], *inputs[2:]), shape, attrs)


def row_major(inputs, shape, attrs) -> Order | None:
    """Row-major, also where what the result is made of is not."""
    return None


def columns(inputs, shape, attrs) -> Order | None:
    """Matrices that lie column by column, as LAPACK makes them."""
    n = len(shape)
    return (*range(n - 2), n - 1, n - 2) if n > 1 else None


def _by_stride(dims, strides) -> list[int]:
    return sorted(dims, key=lambda d: -strides[d])


def transformed(inputs, shape, attrs) -> Order | None:
    """The dims of a Fourier transform inside of the others; those of either kind as they lie in the input's memory.

    A transform from half a spectrum is one of the last dim, after one of the others.
    """
    x, dims = inputs[0], attrs["dim"]
    strides, n = x.stride(), len(shape)
    if "n" in attrs:
        if len(dims) > 1:
            order = transformed(inputs, x.shape, {"dim": dims[:-1]}) or tuple(range(n))
            strides = strides_in_order(x.shape, order)
        dims = dims[-1:]
    real = not x.dtype.is_complex  # the last dim stays where it is: half of it is left out
    last = [*_by_stride(dims[:-1], strides), dims[-1]] if real else _by_stride(dims, strides)
    found = (*_by_stride([d for d in range(n) if d not in dims], strides), *last)
    return found if found != tuple(range(n)) else None


columns.always = transformed.always = True  # type: ignore[attr-defined]
