r"""``torch.quasirandom``: Sobol' sequences, points that fill the unit cube more evenly than random ones.

Point :math:`i` is the exclusive or of direction numbers :math:`v_j`, one for each bit of the Gray code of :math:`i`, as a binary
fraction. The numbers (``directions.npz``: for each dimension a primitive polynomial and the first :math:`m_j`) are those of
Joe and Kuo, "Constructing Sobol sequences with better two-dimensional projections", 2008, search criterion D(6).
Source: https://web.maths.unsw.edu.au/~fkuo/sobol/ and
https://docs.pytorch.org/docs/stable/generated/torch.quasirandom.SobolEngine.html
"""

from __future__ import annotations

import os

import numpy as np

import flambeau
from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.tensor import Tensor

__all__ = ["SobolEngine"]

_BITS = 30


def _directions(dimension: int) -> np.ndarray:
    r"""Direction numbers ``(dimension, 30)``: :math:`v_j = m_j 2^{29 - j}`.

    :math:`m_j = 2 a_1 m_{j-1} \oplus \dots \oplus 2^{s-1} a_{s-1} m_{j-s+1} \oplus 2^s m_{j-s} \oplus m_{j-s}` for a polynomial of
    degree s.
    """
    with np.load(os.path.join(os.path.dirname(__file__), "directions.npz")) as file:
        polynomials, initial = file["polynomials"][:dimension].astype(np.int64), file["initial"][:dimension].astype(np.int64)
    m = np.ones((dimension, _BITS), np.int64)
    degrees = np.count_nonzero(initial, axis=1)
    for degree in range(1, degrees.max() + 1 if dimension > 1 else 1):
        rows = np.flatnonzero(degrees == degree)
        m[rows, :degree] = initial[rows, :degree]
        for j in range(degree, _BITS):
            found = m[rows, j - degree] << degree ^ m[rows, j - degree]
            for i in range(1, degree):
                found ^= (polynomials[rows] >> i - 1 & 1) * (m[rows, j - i] << i)
            m[rows, j] = found
    return m << np.arange(_BITS - 1, -1, -1)


def _parity(x: np.ndarray) -> np.ndarray:
    for shift in (16, 8, 4, 2, 1):
        x = x ^ x >> shift
    return x & 1


class SobolEngine:
    """Draws points of a Sobol' sequence in ``[0, 1)`` to the power ``dimension``, one after the other.

    Args:
        dimension: up to 1111 (PyTorch has a table for 21201).
        scramble: makes it a random sequence that is as even: digits are permuted at random, and shifted (Owen 1998).
        seed: of the scrambling; without it the default generator draws.

    >>> import flambeau as torch
    >>> torch.quasirandom.SobolEngine(dimension=2).draw(3)
    tensor([[0.0000, 0.0000],
            [0.5000, 0.5000],
            [0.7500, 0.2500]])
    """

    MAXBIT = _BITS
    MAXDIM = 1111

    def __init__(self, dimension: int, scramble: bool = False, seed: int | None = None) -> None:
        if dimension > self.MAXDIM or dimension < 1:
            raise ValueError(f"Supported range of dimensionality for SobolEngine is [1, {self.MAXDIM}]")
        self.seed, self.scramble, self.dimension = seed, scramble, dimension
        directions = _directions(dimension)
        shift = np.zeros(dimension, np.int64)
        if scramble:
            directions, shift = self._scrambled(directions)
        self.sobolstate, self.shift = dispatch.wrap(directions, dtypes.int64), dispatch.wrap(shift, dtypes.int64)
        self.quasi = self.shift.clone()
        self._first_point = (self.quasi / 2**_BITS).reshape(1, -1)  # in the default dtype of now, as in PyTorch
        self.num_generated = 0

    def _scrambled(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The directions through a random lower triangular matrix of bits for each dim, and a random shift."""
        generator = None if self.seed is None else flambeau.Generator().manual_seed(self.seed)
        bits = flambeau.randint(2, (self.dimension, _BITS), generator=generator).numpy()
        matrices = np.tril(flambeau.randint(2, (self.dimension, _BITS, _BITS), generator=generator).numpy())
        matrices[:, range(_BITS), range(_BITS)] = 1
        rows = matrices @ (1 << np.arange(_BITS - 1, -1, -1))  # each row of bits as a number, the first bit the highest
        found = np.zeros_like(directions)
        for row in range(_BITS):
            found |= _parity(rows[:, row, None] & directions) << _BITS - 1 - row
        return found, bits @ (1 << np.arange(_BITS))

    def draw(self, n: int = 1, out: Tensor | None = None, dtype: dtypes.dtype | None = None) -> Tensor:
        """The next ``n`` points, ``(n, dimension)``."""
        dtype = flambeau.get_default_dtype() if dtype is None else dtype
        first = self.num_generated == 0 and n > 0
        result = self._advance(n).to(dtype)
        if first:
            result = flambeau.cat([self._first_point.to(dtype), result[1:]])
        if out is not None:
            return out.resize_(result.shape).copy_(result)
        return result

    def _advance(self, n: int) -> Tensor:
        """The next ``n`` points in float64; they become the newest that have been drawn."""
        if n < 0:
            raise ValueError(f"the number of points must not be negative, but got {n}")
        first, directions = self.num_generated, self.sobolstate.numpy()
        at = np.arange(
            max(first - 1, 0), max(first + n - 1, 0)
        )  # of point i the next one differs by the direction of i's lowest zero bit
        lowest = np.log2(~at & at + 1).astype(np.int64)
        steps = np.concatenate([self.quasi.numpy()[None], directions[:, lowest].T])
        points = np.bitwise_xor.accumulate(steps, 0)
        self.quasi = dispatch.wrap(points[-1].copy(), dtypes.int64)
        self.num_generated += n
        return dispatch.wrap(points[first > 0 :][:n] / 2.0**_BITS, dtypes.float64)

    def draw_base2(self, m: int, out: Tensor | None = None, dtype: dtypes.dtype | None = None) -> Tensor:
        """The next ``2**m`` points; ``ValueError`` unless all that have been drawn are then a power of 2, and so balanced."""
        n = 2**m
        total = self.num_generated + n
        if total & (total - 1):
            raise ValueError(
                f"The balance properties of Sobol' points require n to be a power of 2. {self.num_generated} points have been previously "
                f"generated, then: n={self.num_generated}+2**{m}={total}. If you still want to do this, please use 'SobolEngine.draw()' instead."
            )
        return self.draw(n, out, dtype)

    def reset(self) -> SobolEngine:
        """Begins the sequence anew."""
        self.quasi, self.num_generated = self.shift.clone(), 0
        return self

    def fast_forward(self, n: int) -> SobolEngine:
        """Passes over ``n`` points."""
        self._advance(n)
        return self

    def __repr__(self) -> str:
        words = [
            f"dimension={self.dimension}",
            *["scramble=True"] * self.scramble,
            *[f"seed={self.seed}"] * (self.seed is not None),
        ]
        return f"{type(self).__name__}({', '.join(words)})"
