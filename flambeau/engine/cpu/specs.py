"""What kernels of the libraries below compute, as plain data: no LLVM is needed to describe a product."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from flambeau.core.dtypes import dtype as DType

KINDS = {"float32": "float", "float64": "double"}
"""LLVM's names of the floating-point types that kernels of this library are made for."""
FACTORS = KINDS | {"int32": "i32", "int64": "i64"}
"""LLVM's names of the types that products of matrices are made of."""


class GemmSpec(NamedTuple):
    """Matrix products ``C = alpha * A @ B + beta * D``, one for each element of ``batch``.

    Strides are in elements: one for each dimension of ``batch`` (0: the same matrix for all), then row and column. ``D`` may
    be ``C`` itself, a bias (row stride 0) or any other matrix that does not overlap ``C``; ``None`` is none. Where the result
    is ``rectified``, what is less than 0 becomes 0.
    """

    dtype: DType
    m: int
    n: int
    k: int
    a: tuple[int, ...]
    b: tuple[int, ...]
    c: tuple[int, ...]
    d: tuple[int, ...] | None = None
    batch: tuple[int, ...] = ()
    alpha: float = 1.0
    beta: float = 1.0
    rectified: bool = False

    def transposed(self) -> GemmSpec:
        """These products written as ``C.T = B.T @ A.T``."""
        return self._replace(
            m=self.n,
            n=self.m,
            a=_swapped(self.b),
            b=_swapped(self.a),
            c=_swapped(self.c),
            d=None if self.d is None else _swapped(self.d),
        )

    def oriented(self) -> GemmSpec:
        """These products, or their transposes, such that the columns of C are neighbours in memory."""
        down = self.c[-2] == 1 and (self.c[-1] != 1 or self.n == 1)
        return self.transposed() if down and self.m > 1 else self

    def merged(self) -> GemmSpec:
        """These products with as few dimensions of the batch as can be: rows of A that go on into the next matrix are
        rows of one matrix if B is the same, and dimensions that go on into the next one are one."""
        if not self.batch:
            return self
        strides = [list(s) for s in (self.a, self.b, self.c, self.d) if s is not None]
        batch, m = list(self.batch), self.m
        for dim in reversed(range(len(batch))):
            if batch[dim] == 1:
                del batch[dim]
                for s in strides:
                    del s[dim]
            elif dim + 1 < len(batch) and all(s[dim] == s[dim + 1] * batch[dim + 1] for s in strides):
                batch[dim : dim + 2] = [batch[dim] * batch[dim + 1]]
                for s in strides:
                    del s[dim]
        if batch and strides[1][-3] == 0 and all(s[-3] == s[-2] * m for s in (strides[0], *strides[2:])):
            m *= batch.pop()
            for s in strides:
                del s[-3]
        a, b, c, *d = (tuple(s) for s in strides)
        return self._replace(m=m, a=a, b=b, c=c, d=d[0] if d else None, batch=tuple(batch))

    def supported(self) -> bool:
        """Whether there is a kernel: of that dtype, and no gaps between the columns (or else the rows) of C."""
        o = self.oriented()
        return self.dtype.name in FACTORS and (self.empty() or o.n == 1 or o.c[-1] == 1)

    def steps(self) -> int:
        """How many numbers are multiplied."""
        return prod(self.batch) * self.m * self.n * self.k

    def scattered(self) -> bool:
        """Whether the addend's columns are no neighbours: tiles, which read it as whole vectors, find it in the result."""
        return self.d is not None and self.n > 1 and self.d[-1] != 1

    def empty(self) -> bool:
        """Whether the result has no elements."""
        return 0 in (self.m, self.n, *self.batch)


def _swapped(strides: tuple[int, ...]) -> tuple[int, ...]:
    return (*strides[:-2], strides[-1], strides[-2])


class ConvSpec(NamedTuple):
    """A convolution of images (or, with one row, of sequences), or one of its gradients.

    ``part`` says which: ``"forward"`` (x, w -> y), ``"input"`` (dy, w -> dx; also the forward of a transposed convolution) or
    ``"weight"`` (x, dy -> dw). ``x`` and ``y`` are the strides, in elements, of the tensors with those shapes: image, channel,
    row, column. The weight is contiguous: (o, c / groups, rows, columns). With ``bias`` there is an argument more, one number
    for each channel of the result. ``padding`` is what comes before the first row and column; how much comes after the last
    ones follows from ``outputs``, the rows and columns of the result of the convolution (as much as before, if not given).
    Where the result is ``rectified``, what is less than 0 becomes 0.
    """

    part: str
    dtype: DType
    n: int
    c: int
    h: int
    w: int
    o: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    x: tuple[int, int, int, int]
    y: tuple[int, int, int, int]
    bias: bool = False
    outputs: tuple[int, int] | None = None
    rectified: bool = False

    def size(self) -> tuple[int, int]:
        """Rows and columns of the result of the convolution."""
        if self.outputs is not None:
            return self.outputs
        reach = zip((self.h, self.w), self.kernel, self.stride, self.padding, self.dilation)
        rows, columns = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in reach)
        return rows, columns

    def supported(self) -> bool:
        """Whether there is a kernel."""
        return self.dtype.name in KINDS and min(self.size()) >= 0


class PoolSpec(NamedTuple):
    """Windows that slide over planes of rows and columns, or the way back from them.

    ``part`` says what is made: ``"max"`` (x -> y, int64 indices of the maxima in their plane), ``"mean"`` (x -> y) or
    ``"mean gradient"`` (dy -> dx). ``size`` are the rows and columns of a plane, ``outputs`` those of the windows. What is
    read has ``strides`` in elements: image, channel, row, column; what is made is contiguous. A window's sum is divided by
    ``divisor``, or by the elements that it has inside of the plane: with ``padded`` those of the padding count as well.
    """

    part: str
    dtype: DType
    planes: tuple[int, int]
    size: tuple[int, int]
    outputs: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    strides: tuple[int, int, int, int]
    divisor: float | None = None
    padded: bool = True


class VolumeSpec(NamedTuple):
    """Windows that slide over volumes of slices, rows and columns, or the way back: a :class:`PoolSpec` of one dim more."""

    part: str
    dtype: DType
    planes: tuple[int, int]
    size: tuple[int, int, int]
    outputs: tuple[int, int, int]
    kernel: tuple[int, int, int]
    stride: tuple[int, int, int]
    padding: tuple[int, int, int]
    dilation: tuple[int, int, int]
    strides: tuple[int, int, int, int, int]
    divisor: float | None = None
    padded: bool = True


class BinSpec(NamedTuple):
    """Windows that cover planes evenly: window ``i`` of ``m`` goes from ``i * n // m`` to before ``-(-(i + 1) * n // m)``.

    ``part``, ``size``, ``outputs`` and ``strides`` are as in :class:`PoolSpec`.
    """

    part: str
    dtype: DType
    planes: tuple[int, int]
    size: tuple[int, int]
    outputs: tuple[int, int]
    strides: tuple[int, int, int, int]


class ScatterSpec(NamedTuple):
    """The gradient of maxima: ``(dy, indices -> dx)`` adds each of ``count`` numbers of a plane at its place in ``size``."""

    dtype: DType
    planes: tuple[int, int]
    size: int
    outputs: tuple[int, int]
    strides: tuple[int, int, int, int]


class Lookup(NamedTuple):
    """An index tensor: how it is walked, the extent that its entries are within, and what one of them steps over."""

    argument: int
    dtype: DType
    strides: tuple[int, ...]
    extent: int
    step: int
    wraps: bool  # whether entries may count from the end


class Move(NamedTuple):
    """Elements of argument ``source`` to the result: one for each point of ``shape``; of ``constant``, if it is given, or of a
    number that is given at run time, if ``source`` is -1.

    ``starts`` and ``strides`` are those of the source and of the result. The first so many (``reads``) of the indices shift the
    place in the source, the others that in the result. Where elements do not replace what is there, ``fold`` says what becomes of
    both: ``"add"`` is their sum, ``"max"`` and ``"min"`` the greater and the lesser one, or NaN.
    """

    source: int
    shape: tuple[int, ...]
    starts: tuple[int, int]
    strides: tuple[tuple[int, ...], tuple[int, ...]]
    lookups: tuple[Lookup, ...] = ()
    reads: int = 0
    fold: str = ""
    constant: float | None = None

    def collapsed(self) -> Move:
        """This move without dims of extent 1, neighbours joined that everything walks as one."""
        dims: list[tuple[int, ...]] = []  # extent and strides of each
        for dim in zip(self.shape, *self.strides, *[x.strides for x in self.lookups], strict=True):
            n, *strides = dim
            if n == 1:
                continue
            if dims and dims[-1][1:] == tuple([s * n for s in strides]):
                dim = dims.pop()[0] * n, *strides
            dims.append(dim)
        shape, source, target, *walks = zip(*dims) if dims else ((),) * (3 + len(self.lookups))
        lookups = tuple([x._replace(strides=s) for x, s in zip(self.lookups, walks, strict=True)])
        return self._replace(shape=shape, strides=(source, target), lookups=lookups)


class MovementSpec(NamedTuple):
    """Moves, done in order. ``begin`` is what the result of ``size`` elements holds before: ``""`` for nothing that anybody
    reads, ``"zeros"``, or ``"base"``: the first argument, which may be the result's own memory. ``arguments`` counts the values;
    where it is ``checked`` a fault follows the result, and a pointer to ``numbers`` comes last."""

    dtype: DType
    size: int
    arguments: int
    begin: str
    moves: tuple[Move, ...]
    checked: bool = False
    numbers: bool = False

    @property
    def pointers(self) -> int:
        """How many pointers the kernel is given; of more than a few a power of two, since each number takes a kernel."""
        count = self.arguments + 1 + self.checked + self.numbers
        return count if count <= 8 else 1 << (count - 1).bit_length()


class RecurrentSpec(NamedTuple):
    """A layer over sequences of one length. ``features`` is 0 where the input needs no gradient, ``biases`` says whether there
    is one of the input's and one of the state's share of the gates; ``given`` are the row strides of the gradients of the three
    results, ``None`` for one that there is not.
    """

    part: str  # "forward" or "backward"
    mode: str
    dtype: DType
    steps: int
    batch: int
    features: int
    width: int
    reverse: bool
    biases: tuple[bool, bool] = (False, False)
    given: tuple[int | None, int | None, int | None] = (None, None, None)

    @property
    def gates(self) -> int:
        return {"LSTM": 4, "GRU": 3}.get(self.mode, 1)


class BagSpec(NamedTuple):
    """Sums of rows of a table of ``rows`` times ``width`` numbers, ``row`` apart, in ``bags``.

    Which rows, ``indices`` say, ``entries`` of them; ``numbers`` is the dtype of the numbers of their bags, and ``None`` where
    each bag has ``entries`` of its own. ``strides`` are those from number to number, or from bag to bag, and from index to index.
    All are in elements.
    """

    dtype: DType
    indices: DType
    numbers: DType | None
    rows: int
    width: int
    row: int
    entries: int
    bags: int
    strides: tuple[int, int]
    checked: bool = True


class PairSpec(NamedTuple):
    """The distances between all rows of a matrix, each before the ones after it, by a norm with the exponent ``power``: 0, 1, 2 or
    infinite.

    ``shape`` and ``strides``, in elements, are those of the rows and columns.
    """

    dtype: DType
    power: float
    shape: tuple[int, int]
    strides: tuple[int, int]


class ScanSpec(NamedTuple):
    """A running ``"sum"`` or ``"product"`` along ``dim`` of an input of ``shape`` and ``strides``, or the greatest (``"max"``) or
    least (``"min"``) element so far with its place. Results are row-major."""

    dtype: DType
    how: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dim: int


class Taps(NamedTuple):
    """For each result along a dim, the elements that it is the sum of, and their factors: those of result ``i`` stand from
    ``starts[i]`` to before ``starts[i + 1]``."""

    starts: np.ndarray
    elements: np.ndarray
    weights: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """How many elements each result is the sum of."""
        return np.diff(self.starts)

    def picks(self) -> bool:
        """Whether each result is one of the elements."""
        return bool((self.counts == 1).all() and (self.weights == 1).all())


LONGEST = 1 << 12
"""Columns of planes that are resized: kernels have a row on the stack."""


class ResizeSpec(NamedTuple):
    """Planes whose rows and columns are weighted sums of those of ``x``: ``(x -> y)``. See :class:`PoolSpec`."""

    dtype: DType
    planes: tuple[int, int]
    size: tuple[int, int]
    strides: tuple[int, int, int, int]
    rows: Taps
    columns: Taps


class GridSpec(NamedTuple):
    """Samples of images at the places of a grid (see :mod:`flambeau.ops.grids`), or one of their gradients.

    ``part`` is ``"sample"`` (images, grid -> samples), ``"scatter"`` (g, grid -> the gradient of the images) or ``"slopes"`` (g,
    images, grid -> that of the grid). ``places`` is how many places an image's grid has. Strides are in elements: ``image`` those
    of image, channel and each dim; ``grid`` those of image, place and coordinate; ``g`` those of image, channel and place. What is
    made is contiguous.
    """

    part: str
    dtype: DType
    nearest: bool
    padding: str
    align_corners: bool
    images: int
    channels: int
    sizes: tuple[int, ...]
    places: int
    image: tuple[int, ...]
    grid: tuple[int, int, int]
    g: tuple[int, int, int]


class FourierSpec(NamedTuple):
    """Discrete Fourier transforms along ``dims``, one after the other; ``n`` is the size of the result's last one.

    ``part`` is ``"c2c"``, ``"r2c"`` (real numbers to the half of the spectrum along the last of ``dims``) or ``"c2r"`` (back).
    ``dtype`` is that of the real numbers. ``strides`` are those of what is read, in its elements; the result is contiguous, and
    multiplied by ``factor``.
    """

    part: str
    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dims: tuple[int, ...]
    n: int
    forward: bool
    factor: float
