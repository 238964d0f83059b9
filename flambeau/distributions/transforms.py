"""Invertible maps of random variables, with the logarithms of their volume changes.

Source: https://docs.pytorch.org/docs/stable/distributions.html#module-torch.distributions.transforms
"""

from __future__ import annotations

import math
from typing import Any

from flambeau import ops
from flambeau.core.dtypes import finfo
from flambeau.core.size import Size
from flambeau.distributions import constraints
from flambeau.distributions.utils import functional, sum_rightmost

__all__ = [
    "ComposeTransform", "CumulativeDistributionTransform", "IndependentTransform", "LowerCholeskyTransform",
    "ReshapeTransform", "SoftmaxTransform", "StickBreakingTransform", "Transform", "identity_transform",
]  # fmt: skip


class Transform:
    """A map ``y = t(x)`` with an inverse, ``t.inv``, and ``t.log_abs_det_jacobian(x, y)``.

    With ``cache_size=1`` it remembers the last ``(x, y)``, so that inverting what was just computed costs nothing.

    Raises ``ValueError`` for another ``cache_size`` than 0 and 1.

    >>> import flambeau as torch
    >>> t = torch.distributions.ExpTransform()
    >>> t.inv(t(torch.tensor([0.0, 1.0]))).round(decimals=3)
    tensor([0., 1.])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.Transform
    """

    bijective = False
    domain: Any
    codomain: Any

    def __init__(self, cache_size: int = 0) -> None:
        if cache_size not in (0, 1):
            raise ValueError("cache_size must be 0 or 1")
        self._cache_size = cache_size
        self._cached_x_y: tuple = (None, None)
        self._inv: Transform | None = None

    @property
    def sign(self) -> Any:
        """1 or -1: whether a bijection of real numbers rises or falls."""
        raise NotImplementedError

    @property
    def event_dim(self) -> int:
        """How many of the last dimensions make up one value, of ``x`` as of ``y``."""
        if self.domain.event_dim == self.codomain.event_dim:
            return self.domain.event_dim
        raise ValueError("Please use either .domain.event_dim or .codomain.event_dim")

    @property
    def inv(self) -> Transform:
        if self._inv is None:
            self._inv = _InverseTransform(self)
        return self._inv

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__, _cache_size=cache_size, _cached_x_y=(None, None), _inv=None)
        return new

    def __call__(self, x):
        if not self._cache_size:
            return self._call(x)
        x_old, y_old = self._cached_x_y
        if x is x_old:
            return y_old
        y = self._call(x)
        self._cached_x_y = x, y
        return y

    def _inv_call(self, y):
        x_old, y_old = self._cached_x_y
        if self._cache_size and y is y_old:
            return x_old
        x = self._inverse(y)
        if self._cache_size:
            self._cached_x_y = x, y
        return x

    def _call(self, x):
        raise NotImplementedError

    def _inverse(self, y):
        raise NotImplementedError

    def log_abs_det_jacobian(self, x, y):
        raise NotImplementedError

    def forward_shape(self, shape):
        return shape

    def inverse_shape(self, shape):
        return shape

    def __repr__(self) -> str:
        return type(self).__name__ + "()"


class _InverseTransform(Transform):
    _inv: Transform

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform._cache_size)
        self._inv = transform

    @constraints.dependent_property(is_discrete=False)
    def domain(self):
        return self._inv.codomain

    @constraints.dependent_property(is_discrete=False)
    def codomain(self):
        return self._inv.domain

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return self._inv.bijective

    @property
    def sign(self):
        return self._inv.sign

    @property
    def inv(self) -> Transform:
        return self._inv

    def with_cache(self, cache_size: int = 1):
        return self._inv.with_cache(cache_size).inv

    def __call__(self, x):
        return self._inv._inv_call(x)

    def log_abs_det_jacobian(self, x, y):
        return -self._inv.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape):
        return self._inv.inverse_shape(shape)

    def inverse_shape(self, shape):
        return self._inv.forward_shape(shape)

    def __repr__(self) -> str:
        return f"_InverseTransform({self._inv!r})"

    def __eq__(self, other) -> bool:
        return isinstance(other, _InverseTransform) and self._inv == other._inv

    __hash__ = Transform.__hash__


class ComposeTransform(Transform):
    """Transforms one after the other, the first in the list first.

    >>> import flambeau as torch
    >>> d = torch.distributions
    >>> t = d.ComposeTransform([d.AffineTransform(1.0, 2.0), d.ExpTransform()])
    >>> t(torch.tensor([0.0]))  # exp(1 + 2 * 0)
    tensor([2.7183])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.ComposeTransform
    """

    def __init__(self, parts, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.parts = [part.with_cache(cache_size) for part in parts] if cache_size else list(parts)

    @constraints.dependent_property(is_discrete=False)
    def domain(self):
        if not self.parts:
            return constraints.real
        dims = self.parts[-1].codomain.event_dim
        for part in reversed(self.parts):
            dims = part.domain.event_dim + max(dims - part.codomain.event_dim, 0)
        first = self.parts[0].domain
        return constraints.independent(first, dims - first.event_dim) if dims > first.event_dim else first

    @constraints.dependent_property(is_discrete=False)
    def codomain(self):
        if not self.parts:
            return constraints.real
        dims = self.parts[0].domain.event_dim
        for part in self.parts:
            dims = part.codomain.event_dim + max(dims - part.domain.event_dim, 0)
        last = self.parts[-1].codomain
        return constraints.independent(last, dims - last.event_dim) if dims > last.event_dim else last

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return all(p.bijective for p in self.parts)

    @property
    def sign(self):
        return math.prod(p.sign for p in self.parts)

    @property
    def inv(self) -> Transform:
        return ComposeTransform([p.inv for p in reversed(self.parts)])

    def __call__(self, x):
        for part in self.parts:
            x = part(x)
        return x

    def log_abs_det_jacobian(self, x, y):
        if not self.parts:
            return ops.zeros_like(x)
        values = [x]
        for part in self.parts[:-1]:
            values.append(part(values[-1]))
        values.append(y)
        dims = self.domain.event_dim
        total: Any = 0
        for part, before, after in zip(self.parts, values[:-1], values[1:], strict=True):
            term = part.log_abs_det_jacobian(before, after)
            total = total + sum_rightmost(term, dims - part.domain.event_dim)
            dims += part.codomain.event_dim - part.domain.event_dim
        return total

    def forward_shape(self, shape):
        for part in self.parts:
            shape = part.forward_shape(shape)
        return shape

    def inverse_shape(self, shape):
        for part in reversed(self.parts):
            shape = part.inverse_shape(shape)
        return shape

    def __repr__(self) -> str:
        return "ComposeTransform(\n    " + ",\n    ".join(map(repr, self.parts)) + "\n)"


identity_transform = ComposeTransform([])


class IndependentTransform(Transform):
    """A transform of whole events: the volume change is summed over the last dimensions.

    >>> import flambeau as torch
    >>> d = torch.distributions
    >>> t, x = d.IndependentTransform(d.ExpTransform(), 1), torch.tensor([1.0, 2.0])
    >>> t.log_abs_det_jacobian(x, t(x))
    tensor(3.)

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.IndependentTransform
    """

    def __init__(self, base_transform: Transform, reinterpreted_batch_ndims: int, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.base_transform = base_transform.with_cache(cache_size)
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self.bijective = base_transform.bijective

    @constraints.dependent_property(is_discrete=False)
    def domain(self):
        return constraints.independent(self.base_transform.domain, self.reinterpreted_batch_ndims)

    @constraints.dependent_property(is_discrete=False)
    def codomain(self):
        return constraints.independent(self.base_transform.codomain, self.reinterpreted_batch_ndims)

    @property
    def sign(self):
        return self.base_transform.sign

    def _call(self, x):
        return self.base_transform(x)

    def _inverse(self, y):
        return self.base_transform.inv(y)

    def log_abs_det_jacobian(self, x, y):
        return sum_rightmost(self.base_transform.log_abs_det_jacobian(x, y), self.reinterpreted_batch_ndims)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_transform!r}, {self.reinterpreted_batch_ndims})"


class ReshapeTransform(Transform):
    """Events of one shape as events of another.

    Raises ``ValueError`` for shapes of different numbers of elements.

    >>> import flambeau as torch
    >>> torch.distributions.ReshapeTransform((4,), (2, 2))(torch.arange(4.0))
    tensor([[0., 1.],
            [2., 3.]])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.ReshapeTransform
    """

    bijective = True

    def __init__(self, in_shape, out_shape, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.in_shape, self.out_shape = Size(in_shape), Size(out_shape)
        if self.in_shape.numel() != self.out_shape.numel():
            raise ValueError("in_shape, out_shape have different numbers of elements")

    @constraints.dependent_property
    def domain(self):
        return constraints.independent(constraints.real, len(self.in_shape))

    @constraints.dependent_property
    def codomain(self):
        return constraints.independent(constraints.real, len(self.out_shape))

    def _call(self, x):
        return x.reshape(x.shape[: x.dim() - len(self.in_shape)] + self.out_shape)

    def _inverse(self, y):
        return y.reshape(y.shape[: y.dim() - len(self.out_shape)] + self.in_shape)

    def log_abs_det_jacobian(self, x, y):
        return x.new_zeros(x.shape[: x.dim() - len(self.in_shape)])

    def forward_shape(self, shape):
        return Size(shape[: len(shape) - len(self.in_shape)]) + self.out_shape

    def inverse_shape(self, shape):
        return Size(shape[: len(shape) - len(self.out_shape)]) + self.in_shape


class _Elementwise(Transform):
    """Base of the bijections of one real number without settings."""

    domain: Any = constraints.real
    codomain: Any = constraints.real
    bijective = True

    def __eq__(self, other) -> bool:
        return type(self) is type(other)

    __hash__ = Transform.__hash__


def _clipped_sigmoid(x):
    """The sigmoid of ``x``, kept away from 0 and 1."""
    info = finfo(x.dtype)
    return x.sigmoid().clamp(min=info.tiny, max=1.0 - info.eps)


def _same(a, b) -> bool:
    equal = a == b
    return equal if isinstance(equal, bool) else bool(equal.all())


class SoftmaxTransform(_Elementwise):
    """y = softmax(x), which forgets what is added to all of x.

    >>> import flambeau as torch
    >>> torch.distributions.SoftmaxTransform()(torch.tensor([1.0, 1.0]))
    tensor([0.5000, 0.5000])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.SoftmaxTransform
    """

    domain: Any = constraints.real_vector
    codomain: Any = constraints.simplex
    bijective = False

    def _call(self, x):
        e = (x - x.max(-1, True)[0]).exp()
        return e / e.sum(-1, True)

    def _inverse(self, y):
        return y.log()


class StickBreakingTransform(_Elementwise):
    """From n real numbers to n + 1 that sum to 1, each a share of what those before it have left.

    >>> import flambeau as torch
    >>> torch.distributions.StickBreakingTransform()(torch.tensor([0.0, 0.0]))
    tensor([0.3333, 0.3333, 0.3333])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.StickBreakingTransform
    """

    domain: Any = constraints.real_vector
    codomain: Any = constraints.simplex

    def _offset(self, x):
        return x.shape[-1] + 1 - ops.ones(x.shape[-1], dtype=x.dtype).cumsum(-1)

    def _call(self, x):
        z = _clipped_sigmoid(x - self._offset(x).log())
        left = (1 - z).cumprod(-1)
        return functional["pad"](z, [0, 1], value=1) * functional["pad"](left, [1, 0], value=1)

    def _inverse(self, y):
        shares = y[..., :-1]
        left = (1 - shares.cumsum(-1)).clamp(min=finfo(y.dtype).tiny)
        return shares.log() - left.log() + self._offset(shares).log()

    def log_abs_det_jacobian(self, x, y):
        x = x - self._offset(x).log()
        return (-x + functional["logsigmoid"](x) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape):
        return Size(shape[:-1]) + (shape[-1] + 1,)

    def inverse_shape(self, shape):
        return Size(shape[:-1]) + (shape[-1] - 1,)


class LowerCholeskyTransform(_Elementwise):
    """Matrices to lower triangles with a positive diagonal.

    >>> import flambeau as torch
    >>> torch.distributions.LowerCholeskyTransform()(torch.tensor([[0.0, 5.0], [3.0, 1.0]]))
    tensor([[1.0000, 0.0000],
            [3.0000, 2.7183]])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.LowerCholeskyTransform
    """

    domain: Any = constraints.independent(constraints.real, 2)
    codomain: Any = constraints.lower_cholesky
    bijective = False

    def _call(self, x):
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y):
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()


class CumulativeDistributionTransform(Transform):
    """y = the distribution's chance of being at most x.

    >>> import flambeau as torch
    >>> d = torch.distributions
    >>> d.CumulativeDistributionTransform(d.Normal(0.0, 1.0))(torch.tensor([0.0, 1.96]))
    tensor([0.5000, 0.9750])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.CumulativeDistributionTransform
    """

    bijective = True
    codomain: Any = constraints.unit_interval
    sign: Any = 1

    def __init__(self, distribution, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.distribution = distribution

    @property
    def domain(self):
        return self.distribution.support

    def _call(self, x):
        return self.distribution.cdf(x)

    def _inverse(self, y):
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x, y):
        return self.distribution.log_prob(x)


def __getattr__(name: str) -> Any:
    from flambeau.distributions import elementwise_transforms, more_transforms  # which are made of what is here

    for module in (elementwise_transforms, more_transforms):
        if name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module 'torch.distributions.transforms' has no attribute '{name}'", name=name)
