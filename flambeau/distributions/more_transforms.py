"""Transforms to correlation and covariance matrices, and transforms of parts: names of :mod:`flambeau.distributions.transforms`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flambeau import ops
from flambeau.core.dtypes import finfo
from flambeau.distributions import constraints
from flambeau.distributions.transforms import LowerCholeskyTransform, Transform
from flambeau.distributions.utils import functional, tril_matrix_to_vec, vec_to_tril_matrix

__all__ = ["CatTransform", "CorrCholeskyTransform", "PositiveDefiniteTransform", "StackTransform"]


class CorrCholeskyTransform(Transform):
    r"""Vectors of length :math:`D (D - 1) / 2` to Cholesky factors of correlation matrices :math:`D \times D`.

    The vector, through :math:`\tanh`, is a strict lower triangle of partial correlations :math:`r`; a row becomes
    :math:`y_j = r_j \prod_{k<j} \sqrt{1 - r_k^2}`, and its diagonal what makes its length 1.

    Raises ``ValueError`` for vectors whose length is no :math:`D (D - 1) / 2`.

    >>> import flambeau as torch
    >>> L = torch.distributions.CorrCholeskyTransform()(torch.tensor([0.5]))
    >>> L @ L.T
    tensor([[1.0000, 0.4621],
            [0.4621, 1.0000]])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.CorrCholeskyTransform
    """

    domain: Any = constraints.real_vector
    codomain: Any = constraints.corr_cholesky
    bijective = True

    def _call(self, x):
        x = x.tanh()
        eps = finfo(x.dtype).eps
        r = vec_to_tril_matrix(x.clamp(-1 + eps, 1 - eps), -1)
        rest = (1 - r * r).sqrt().cumprod(-1)
        r = r + r.new_ones(r.shape[-1]).diag_embed()
        return r * functional["pad"](rest[..., :-1], [1, 0], value=1)

    def _inverse(self, y):
        rest = functional["pad"](1 - (y * y).cumsum(-1)[..., :-1], [1, 0], value=1)
        t = tril_matrix_to_vec(y, -1) / tril_matrix_to_vec(rest, -1).sqrt()
        return (t.log1p() - (-t).log1p()) / 2

    def log_abs_det_jacobian(self, x, y):
        rest = tril_matrix_to_vec(1 - (y * y).cumsum(-1), -2)
        return 0.5 * rest.log().sum(-1) - 2 * (x + functional["softplus"](-2 * x) - math.log(2.0)).sum(-1)

    def forward_shape(self, shape):
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        n = shape[-1]
        d = round((0.25 + 2 * n) ** 0.5 + 0.5)
        if d * (d - 1) // 2 != n:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return shape[:-1] + (d, d)

    def inverse_shape(self, shape):
        if len(shape) < 2:
            raise ValueError("Too few dimensions on input")
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        return shape[:-2] + (shape[-1] * (shape[-1] - 1) // 2,)


class PositiveDefiniteTransform(Transform):
    """Matrices to positive definite ones: the product of a lower triangle with a positive diagonal and its transpose.

    >>> import flambeau as torch
    >>> torch.distributions.PositiveDefiniteTransform()(torch.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.PositiveDefiniteTransform
    """

    domain: Any = constraints.independent(constraints.real, 2)
    codomain: Any = constraints.positive_definite

    def __eq__(self, other):
        return isinstance(other, PositiveDefiniteTransform)

    __hash__ = Transform.__hash__

    def _call(self, x):
        x = LowerCholeskyTransform()(x)
        return x @ x.mT

    def _inverse(self, y):
        return LowerCholeskyTransform().inv(ops.namespace("linalg")["cholesky"](y))


class _Parts(Transform):
    """Applies a transform to each part along a dim."""

    transforms: list[Transform]
    dim: int

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return all(t.bijective for t in self.transforms)

    def _parts(self, x) -> list:
        raise NotImplementedError

    def _join(self, parts: list):
        raise NotImplementedError

    def _call(self, x):
        return self._join([t(part) for t, part in zip(self.transforms, self._parts(x), strict=True)])

    def _inverse(self, y):
        return self._join([t.inv(part) for t, part in zip(self.transforms, self._parts(y), strict=True)])


class CatTransform(_Parts):
    """Transforms, each of ``lengths`` elements along ``dim`` (by default 1).

    Raises ``AssertionError`` for what is no transform and for lengths that do not fit.

    >>> import flambeau as torch
    >>> d = torch.distributions
    >>> t = d.CatTransform([d.ExpTransform(), d.AffineTransform(0.0, 10.0)], lengths=[1, 2])
    >>> t(torch.tensor([0.0, 1.0, 2.0]))
    tensor([ 1., 10., 20.])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.CatTransform
    """

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, lengths: Sequence[int] | None = None, cache_size: int = 0) -> None:
        if not all(isinstance(t, Transform) for t in tseq):
            raise AssertionError("All elements of tseq must be Transform instances")
        super().__init__(cache_size)
        self.transforms = [t.with_cache(cache_size) if cache_size else t for t in tseq]
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise AssertionError(f"lengths ({len(self.lengths)}) must match number of transforms ({len(self.transforms)})")
        self.dim = dim

    @property
    def event_dim(self) -> int:
        return max(t.domain.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        return sum(self.lengths)

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)

    def _parts(self, x) -> list:
        if not -x.dim() <= self.dim < x.dim() or x.size(self.dim) != self.length:
            raise AssertionError(f"size along dim {self.dim} must be {self.length}, but got {list(x.shape)}")
        return list(x.split(self.lengths, self.dim))

    def _join(self, parts: list):
        return ops.namespace("")["cat"](parts, self.dim)

    def log_abs_det_jacobian(self, x, y):
        found = []
        for t, u, v in zip(self.transforms, self._parts(x), self._parts(y), strict=True):
            part = t.log_abs_det_jacobian(u, v)
            missing = self.event_dim - t.domain.event_dim
            found.append(part.sum(tuple(range(-missing, 0))) if missing else part)
        dim = self.dim if self.dim < 0 else self.dim - x.dim()
        dim += self.event_dim
        return ops.namespace("")["cat"](found, dim) if dim < 0 else sum(found)


class StackTransform(_Parts):
    """Transforms, each of one place along ``dim``.

    Raises ``AssertionError`` for what is no transform and for another number of them than places.

    >>> import flambeau as torch
    >>> d = torch.distributions
    >>> d.StackTransform([d.ExpTransform(), d.AffineTransform(0.0, 10.0)])(torch.tensor([0.0, 1.0]))
    tensor([ 1., 10.])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.StackTransform
    """

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        if not all(isinstance(t, Transform) for t in tseq):
            raise AssertionError("All elements of tseq must be Transform instances")
        super().__init__(cache_size)
        self.transforms = [t.with_cache(cache_size) if cache_size else t for t in tseq]
        self.dim = dim

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.stack([t.codomain for t in self.transforms], self.dim)

    def _parts(self, x) -> list:
        if not -x.dim() <= self.dim < x.dim() or x.size(self.dim) != len(self.transforms):
            raise AssertionError(f"size along dim {self.dim} must be {len(self.transforms)}, but got {list(x.shape)}")
        return list(x.unbind(self.dim))

    def _join(self, parts: list):
        return ops.namespace("")["stack"](parts, self.dim)

    def log_abs_det_jacobian(self, x, y):
        parts = zip(self.transforms, self._parts(x), self._parts(y), strict=True)
        return ops.namespace("")["stack"]([t.log_abs_det_jacobian(u, v) for t, u, v in parts], self.dim)
