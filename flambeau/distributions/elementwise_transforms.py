"""Transforms of single numbers: names of :mod:`flambeau.distributions.transforms`."""

from __future__ import annotations

import math
from typing import Any

from flambeau import ops
from flambeau.core.dtypes import finfo
from flambeau.core.size import broadcast_shapes
from flambeau.distributions import constraints
from flambeau.distributions.transforms import Transform, _clipped_sigmoid, _Elementwise, _same
from flambeau.distributions.utils import functional, sum_rightmost

__all__ = [
    "AbsTransform", "AffineTransform", "ExpTransform", "PowerTransform", "SigmoidTransform", "SoftplusTransform",
    "TanhTransform",
]  # fmt: skip


class ExpTransform(_Elementwise):
    """y = exp(x).

    >>> import flambeau as torch
    >>> t = torch.distributions.ExpTransform()
    >>> t(torch.tensor([0.0, 1.0])), t.inv(torch.tensor([1.0]))
    (tensor([1.0000, 2.7183]), tensor([0.]))

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.ExpTransform
    """

    codomain: Any = constraints.positive
    sign: Any = 1

    def _call(self, x):
        return x.exp()

    def _inverse(self, y):
        return y.log()

    def log_abs_det_jacobian(self, x, y):
        return x


class SigmoidTransform(_Elementwise):
    """y = 1 / (1 + exp(-x)), kept away from 0 and 1.

    >>> import flambeau as torch
    >>> torch.distributions.SigmoidTransform()(torch.tensor([0.0, 2.0]))
    tensor([0.5000, 0.8808])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.SigmoidTransform
    """

    codomain: Any = constraints.unit_interval
    sign: Any = 1

    def _call(self, x):
        return _clipped_sigmoid(x)

    def _inverse(self, y):
        info = finfo(y.dtype)
        y = y.clamp(min=info.tiny, max=1.0 - info.eps)
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x, y):
        return -functional["softplus"](-x) - functional["softplus"](x)


class SoftplusTransform(_Elementwise):
    """y = log(1 + exp(x)).

    >>> import flambeau as torch
    >>> torch.distributions.SoftplusTransform()(torch.tensor([0.0, 30.0]))
    tensor([ 0.6931, 30.0000])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.SoftplusTransform
    """

    codomain: Any = constraints.positive
    sign: Any = 1

    def _call(self, x):
        return functional["softplus"](x)

    def _inverse(self, y):
        return (-y).expm1().neg().log() + y

    def log_abs_det_jacobian(self, x, y):
        return -functional["softplus"](-x)


class TanhTransform(_Elementwise):
    """y = tanh(x).

    >>> import flambeau as torch
    >>> torch.distributions.TanhTransform()(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.TanhTransform
    """

    codomain: Any = constraints.interval(-1.0, 1.0)
    sign: Any = 1

    def _call(self, x):
        return x.tanh()

    def _inverse(self, y):
        return y.atanh()

    def log_abs_det_jacobian(self, x, y):
        return 2.0 * (math.log(2.0) - x - functional["softplus"](-2.0 * x))


class PowerTransform(_Elementwise):
    """y = x ** exponent.

    >>> import flambeau as torch
    >>> torch.distributions.PowerTransform(torch.tensor(2.0))(torch.tensor([3.0]))
    tensor([9.])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.PowerTransform
    """

    domain: Any = constraints.positive
    codomain: Any = constraints.positive

    def __init__(self, exponent, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.exponent = exponent if hasattr(exponent, "dtype") else ops.full((), float(exponent))

    @property
    def sign(self):
        return self.exponent.sign()

    def __eq__(self, other) -> bool:
        return isinstance(other, PowerTransform) and _same(self.exponent, other.exponent)

    __hash__ = Transform.__hash__

    def _call(self, x):
        return x.pow(self.exponent)

    def _inverse(self, y):
        return y.pow(1 / self.exponent)

    def log_abs_det_jacobian(self, x, y):
        return (self.exponent * y / x).abs().log()

    def forward_shape(self, shape):
        return broadcast_shapes(shape, self.exponent.shape)

    inverse_shape = forward_shape


class AbsTransform(_Elementwise):
    """y = |x|; the inverse takes the positive one.

    >>> import flambeau as torch
    >>> torch.distributions.AbsTransform()(torch.tensor([-2.0, 3.0]))
    tensor([2., 3.])

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.AbsTransform
    """

    codomain: Any = constraints.positive
    bijective = False

    def _call(self, x):
        return x.abs()

    def _inverse(self, y):
        return y


class AffineTransform(Transform):
    """y = loc + scale * x, for events of ``event_dim`` dimensions.

    >>> import flambeau as torch
    >>> t = torch.distributions.AffineTransform(loc=1.0, scale=2.0)
    >>> t(torch.tensor([0.0, 3.0])), t.inv(torch.tensor([7.0]))
    (tensor([1., 7.]), tensor([3.]))

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.transforms.AffineTransform
    """

    bijective = True

    def __init__(self, loc, scale, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.loc, self.scale, self._event_dim = loc, scale, event_dim

    @property
    def event_dim(self) -> int:
        return self._event_dim

    @constraints.dependent_property(is_discrete=False)
    def domain(self):
        return constraints.independent(constraints.real, self.event_dim) if self.event_dim else constraints.real

    codomain = domain

    @property
    def sign(self):
        return self.scale.sign() if hasattr(self.scale, "sign") else math.copysign(1, self.scale)

    def __eq__(self, other) -> bool:
        return isinstance(other, AffineTransform) and _same(self.loc, other.loc) and _same(self.scale, other.scale)

    __hash__ = Transform.__hash__

    def _call(self, x):
        return self.loc + self.scale * x

    def _inverse(self, y):
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x, y):
        scale = self.scale if hasattr(self.scale, "dtype") else ops.full_like(x, self.scale)
        return sum_rightmost(scale.abs().log().expand(x.shape), self.event_dim)

    def forward_shape(self, shape):
        return broadcast_shapes(shape, getattr(self.loc, "shape", ()), getattr(self.scale, "shape", ()))

    inverse_shape = forward_shape
