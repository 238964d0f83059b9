"""Distributions of matrices: correlations and covariances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flambeau import ops
from flambeau.core.dtypes import finfo
from flambeau.core.errors import warn
from flambeau.core.size import broadcast
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.gamma_family import Beta, Chi2
from flambeau.distributions.multivariate import half_log_det
from flambeau.distributions.utils import broadcast_all, lazy_property
from flambeau.tensor import Tensor

__all__ = ["LKJCholesky", "Wishart"]

linalg = ops.namespace("linalg")


class LKJCholesky(Distribution):
    r"""Lower Cholesky factors of correlation matrices, of density proportional to :math:`\det(M)^{\eta - 1}`.

    Args:
        dim: rows of the matrices, at least 2
        concentration: :math:`\eta`; at 1 all correlation matrices are alike

    Raises ``ValueError`` for a ``dim`` below 2.

    >>> import flambeau as torch
    >>> d = torch.distributions.LKJCholesky(3, 0.5)
    >>> d.sample().shape
    torch.Size([3, 3])

    Source: Lewandowski, Kurowicka and Joe, "Generating random correlation matrices based on vines and extended onion method",
    2009; https://docs.pytorch.org/docs/stable/distributions.html#lkjcholesky
    """

    arg_constraints = {"concentration": constraints.positive}
    support: Any = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        # Squared lengths of the rows without the diagonal; the first row has none, and its number is drawn in vain.
        before = ops.arange(dim - 1, dtype=self.concentration.dtype)
        before = ops.cat([before.new_zeros((1,)), before])
        rest = (self.concentration + 0.5 * (dim - 2)).unsqueeze(-1) - 0.5 * before
        self._lengths = Beta(before + 0.5, rest)
        super().__init__(self.concentration.shape, (dim, dim), validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        new.dim = self.dim
        new._lengths = self._lengths.expand((*batch_shape, self.dim))
        return new

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        squares = self._lengths.sample(sample_shape).unsqueeze(-1)
        directions = ops.randn(self._extended_shape(sample_shape), dtype=squares.dtype).tril(-1)
        norms = directions.norm(dim=-1, keepdim=True)
        directions = ops.where(norms == 0, 0.0, directions / norms)
        rows = squares.sqrt() * directions
        diagonal = (1 - (rows**2).sum(-1)).clamp(min=finfo(rows.dtype).tiny).sqrt()
        return rows + diagonal.diag_embed()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - ops.arange(2, self.dim + 1)
        n = self.dim - 1
        alpha = self.concentration + 0.5 * n
        norm = 0.5 * n * math.log(math.pi) + (alpha - 0.5).mvlgamma(n) - alpha.lgamma() * n
        return (order * diagonal.log()).sum(-1) - norm


class Wishart(Distribution):
    r"""Covariance matrices: :math:`\sum_i x_i x_i^T` of ``df`` normal vectors of a given covariance.

    Args:
        df: degrees of freedom, greater than the number of rows less one
        covariance_matrix, precision_matrix, scale_tril: one of them says the covariance of the vectors

    Raises ``ValueError`` for a ``df`` that is too small, ``AssertionError`` unless one matrix is given.

    >>> import flambeau as torch
    >>> d = torch.distributions.Wishart(torch.tensor(4.0), torch.eye(2))
    >>> d.mean
    tensor([[4., 0.],
            [0., 4.]])

    Source: Odell and Feiveson, "A numerical procedure to generate a sample covariance matrix", 1966;
    https://docs.pytorch.org/docs/stable/distributions.html#wishart
    """

    support: Any = constraints.positive_definite
    has_rsample = True

    @property
    def arg_constraints(self):  # type: ignore[override]
        return {
            "covariance_matrix": constraints.positive_definite, "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky, "df": constraints.greater_than(self.event_shape[-1] - 1),
        }  # fmt: skip

    def __init__(
        self, df, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args: bool | None = None
    ) -> None:
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
        given = {name: m for name, m in given.items() if m is not None}
        if len(given) != 1:
            raise AssertionError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        ((name, matrix),) = given.items()
        if matrix.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        batch, event = matrix.shape[:-2], matrix.shape[-2:]
        if isinstance(df, Tensor):
            batch = broadcast(batch, df.shape)
            self.df = df.expand(batch)
        else:
            self.df = ops.scalar_tensor(df, dtype=matrix.dtype)
        rows = event[-1]
        if (self.df <= rows - 1).any():
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {rows - 1}.")
        self.__dict__[name] = matrix.expand(batch + event)
        if (self.df < rows).any():
            warn("Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.")
        super().__init__(batch, event, validate_args=validate_args)
        self._factor = self._factor_of(name, matrix)
        self._squares = self._squares_of()

    @staticmethod
    def _factor_of(name: str, matrix):
        """The lower Cholesky factor of the covariance."""
        if name == "scale_tril":
            return matrix
        if name == "covariance_matrix":
            return linalg["cholesky"](matrix)
        upper = linalg["cholesky"](matrix.flip((-2, -1))).flip((-2, -1)).mT  # of the inverse, by way of the reversed matrix
        return linalg["solve_triangular"](upper, ops.eye(matrix.shape[-1], dtype=matrix.dtype), upper=False)

    def _squares_of(self):
        """What the squares on the diagonal of a sample's factor are drawn from (Bartlett's decomposition)."""
        return Chi2(self.df.unsqueeze(-1) - ops.arange(self._event_shape[-1], dtype=self._factor.dtype))

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        for name in ("covariance_matrix", "precision_matrix", "scale_tril"):
            if name in self.__dict__:
                new.__dict__[name] = self.__dict__[name].expand((*batch_shape, *self._event_shape))
        new.df = self.df.expand(batch_shape)
        new._factor = self._factor.expand((*batch_shape, *self._event_shape))
        new._squares = new._squares_of()
        return new

    @lazy_property
    def scale_tril(self) -> Tensor:
        return self._factor.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        return (self._factor @ self._factor.mT).expand(self._batch_shape + self._event_shape)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        return ops.cholesky_inverse(self._factor).expand(self._batch_shape + self._event_shape)

    def _times_covariance(self, factor):
        return factor.reshape(self._batch_shape + (1, 1)) * self.covariance_matrix

    @property
    def mean(self) -> Tensor:
        return self._times_covariance(self.df)

    @property
    def mode(self) -> Tensor:
        factor = self.df - self._event_shape[-1] - 1
        return self._times_covariance(ops.where(factor <= 0, math.nan, factor))

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        squares = v.pow(2) + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self.df.reshape(self._batch_shape + (1, 1)) * squares

    def _draw(self, sample_shape):
        p = self._event_shape[-1]
        diagonal = self._squares.rsample(sample_shape).sqrt()
        diagonal = diagonal.clamp(min=finfo(diagonal.dtype).eps)
        below = ops.randn((*sample_shape, *self._batch_shape, p * (p - 1) // 2), dtype=diagonal.dtype)
        i, j = ops.tril_indices(p, p, -1)
        noise = diagonal.diag_embed()
        noise[..., i, j] = below
        factor = self._factor @ noise
        return factor @ factor.mT

    def rsample(self, sample_shape: Sequence[int] = (), max_try_correction: int | None = None) -> Tensor:
        """Samples, of which some are drawn again, up to ``max_try_correction`` (10) times.

        These should be those that rounding has made singular. But at first PyTorch takes all others for these, and the numbers
        are its numbers: so most samples are second ones, and it warns.
        """
        sample = self._draw(tuple(sample_shape))
        again = self._over_batch(self.support.check(sample))
        if again.any():
            warn("Singular sample detected.")
            for _ in range(10 if max_try_correction is None else max_try_correction):
                other = self._draw(again[again].shape)
                sample[again] = other
                again[again.clone()] = self._over_batch(~self.support.check(other))
                if not again.any():
                    break
        return sample

    def _over_batch(self, flags):
        """Whether a flag is set for any of the batch."""
        batch = len(self._batch_shape)
        return flags.amax(tuple(range(-batch, 0))) if batch else flags

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        nu, p = self.df, self._event_shape[-1]
        trace = ops.cholesky_solve(value, self._factor).diagonal(dim1=-2, dim2=-1).sum(-1)
        log_det = linalg["slogdet"](value).logabsdet
        norm = nu * (p * math.log(2.0) / 2 + half_log_det(self._factor)) + (nu / 2).mvlgamma(p)
        return (nu - p - 1) / 2 * log_det - trace / 2 - norm

    def entropy(self) -> Tensor:
        nu, p = self.df, self._event_shape[-1]
        digammas = ((nu.unsqueeze(-1) - ops.arange(p, dtype=nu.dtype)) / 2).digamma().sum(-1)
        size = (p + 1) * (p * math.log(2.0) / 2 + half_log_det(self._factor))
        return size + (nu / 2).mvlgamma(p) - (nu - p - 1) / 2 * digammas + nu * p / 2
