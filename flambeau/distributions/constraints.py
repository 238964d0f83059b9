"""What values parameters and samples of distributions may have.

A constraint's ``check(value)`` gives a boolean tensor: for each value, whether it is allowed. ``event_dim`` is how many of
the last dimensions of ``value`` make up one value.

Source: https://docs.pytorch.org/docs/stable/distributions.html#module-torch.distributions.constraints
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from flambeau import ops
from flambeau.core.dtypes import ALL, FLOATING, finfo, float32, float64, int64
from flambeau.tensor import Tensor

__all__ = [
    "Constraint", "boolean", "cat", "corr_cholesky", "dependent", "dependent_property", "greater_than", "greater_than_eq",
    "half_open_interval", "independent", "integer_interval", "interval", "is_dependent", "less_than", "lower_cholesky",
    "lower_triangular", "multinomial", "nonnegative", "nonnegative_integer", "one_hot", "positive",
    "positive_definite", "positive_integer", "positive_semidefinite", "real", "real_vector", "simplex", "square", "stack",
    "symmetric", "unit_interval",
]  # fmt: skip

linalg = ops.namespace("linalg")


class Constraint:
    """Base class; ``check`` says which values are allowed."""

    is_discrete = False
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def __repr__(self) -> str:
        return type(self).__name__.lstrip("_") + "()"


def _constraint(x) -> Constraint:
    if not isinstance(x, Constraint):
        raise AssertionError(f"base_constraint must be a Constraint, got {type(x).__name__}")
    return x


class _Arithmetic(Constraint):
    """Base of those whose check, :meth:`allowed`, is written in what tensors and arrays have in common."""

    def allowed(self, value):
        raise NotImplementedError

    def check(self, value):
        return self.allowed(value)


class _Dependent(Constraint):
    """Depends on the other parameters; used where a class rather than an object is described.

    What is not given of it cannot be known before there is an object: ``is_discrete`` and ``event_dim`` raise
    ``NotImplementedError``.
    """

    def __init__(self, *, is_discrete: bool | None = None, event_dim: int | None = None) -> None:
        self._is_discrete, self._event_dim = is_discrete, event_dim

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        if self._is_discrete is None:
            raise NotImplementedError(".is_discrete cannot be determined statically")
        return self._is_discrete

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        if self._event_dim is None:
            raise NotImplementedError(".event_dim cannot be determined statically")
        return self._event_dim

    def __call__(self, *, is_discrete: bool | None = None, event_dim: int | None = None) -> _Dependent:
        """This support with more known of it: ``constraints.dependent(is_discrete=True, event_dim=1)``."""
        return _Dependent(
            is_discrete=self._is_discrete if is_discrete is None else is_discrete,
            event_dim=self._event_dim if event_dim is None else event_dim,
        )

    def check(self, value: Tensor) -> Tensor:
        raise ValueError("Cannot determine validity of dependent constraint")


class dependent_property(property, _Dependent):
    """A property that gives a constraint on objects and stands for a dependent one on the class."""

    def __init__(self, fn=None, *, is_discrete: bool | None = None, event_dim: int | None = None) -> None:
        super().__init__(fn)
        self._is_discrete, self._event_dim = is_discrete, event_dim

    def __call__(self, fn) -> dependent_property:  # type: ignore[override]
        return dependent_property(fn, is_discrete=self._is_discrete, event_dim=self._event_dim)


def is_dependent(constraint) -> bool:
    return isinstance(constraint, _Dependent)


class _Bounds(_Arithmetic):
    """Base of the intervals: compared and shown by their bounds."""

    names: tuple[str, ...] = ("lower_bound", "upper_bound")
    lower_bound: Any
    upper_bound: Any

    def __init__(self, *bounds, **named) -> None:
        given = dict(zip(self.names, bounds)) | named
        if given.keys() != set(self.names) or len(bounds) + len(named) != len(self.names):
            raise TypeError(f"{type(self).__name__}() takes {', '.join(self.names)}, not {bounds or ''} {named or ''}")
        for name in self.names:
            setattr(self, name, given[name])

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)}" for name in self.names)
        return f"{type(self).__name__.lstrip('_')}({shown})"


class _Interval(_Bounds):
    def allowed(self, value):
        return (value >= self.lower_bound) & (value <= self.upper_bound)


class _HalfOpenInterval(_Bounds):
    def allowed(self, value):
        return (value >= self.lower_bound) & (value < self.upper_bound)


class _IntegerInterval(_Bounds):
    is_discrete = True

    def allowed(self, value):
        return _whole(value, (value >= self.lower_bound) & (value <= self.upper_bound))


class _GreaterThan(_Bounds):
    names = ("lower_bound",)

    def allowed(self, value):
        return value > self.lower_bound


class _GreaterThanEq(_GreaterThan):
    def allowed(self, value):
        return value >= self.lower_bound


class _IntegerGreaterThan(_GreaterThan):
    is_discrete = True

    def allowed(self, value):
        return _whole(value, value >= self.lower_bound)


class _LessThan(_Bounds):
    names = ("upper_bound",)

    def allowed(self, value):
        return value < self.upper_bound


_INTEGERS = frozenset(x for d in ALL if d.kind < FLOATING for x in (d, d.np))


def _whole(value, allowed):
    """``allowed`` where ``value`` is a whole number."""
    return allowed if value.dtype in _INTEGERS else (value % 1 == 0) & allowed


class _Boolean(_Arithmetic):
    is_discrete = True

    def allowed(self, value):
        return (value == 0) | (value == 1)


class _Real(_Arithmetic):
    def allowed(self, value):
        return value == value


class _Simplex(_Arithmetic):
    event_dim = 1

    def allowed(self, value):
        return (value >= 0).all(-1) & (abs(value.sum(-1) - 1) < 1e-6)


class _OneHot(_Arithmetic):
    is_discrete = True
    event_dim = 1

    def allowed(self, value):
        return ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)


class _Multinomial(_Arithmetic):
    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound) -> None:
        self.upper_bound = upper_bound

    def allowed(self, value):
        return (value >= 0).all(-1) & (value.sum(-1) <= self.upper_bound)


class _LowerTriangular(Constraint):
    event_dim = 2

    def check(self, value):
        return (value.tril() == value).flatten(-2).all(-1)


class _LowerCholesky(_LowerTriangular):
    def check(self, value):
        return super().check(value) & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


class _CorrCholesky(_LowerCholesky):
    def check(self, value):
        tolerance = finfo(value.dtype).eps * value.shape[-1] * 10
        unit_rows = (value.square().sum(-1).sqrt() - 1).abs().le(tolerance).all(-1)
        return super().check(value) & unit_rows


class _Square(Constraint):
    event_dim = 2

    def check(self, value):
        return ops.full(value.shape[:-2], value.shape[-1] == value.shape[-2])


class _Symmetric(_Square):
    def check(self, value):
        if value.shape[-1] != value.shape[-2]:
            return super().check(value)
        return ops.isclose(value, value.mT, atol=1e-6).flatten(-2).all(-1)


class _PositiveSemidefinite(_Symmetric):
    def check(self, value):
        symmetric = super().check(value)
        if not symmetric.all():
            return symmetric
        return linalg["eigvalsh"](value).ge(0).all(-1)


class _PositiveDefinite(_Symmetric):
    def check(self, value):
        symmetric = super().check(value)
        if not symmetric.all():
            return symmetric
        return linalg["cholesky_ex"](value).info.eq(0)


class _IndependentConstraint(Constraint):
    """A constraint on each element of whole events: all must be allowed."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        if reinterpreted_batch_ndims < 0:
            raise AssertionError(f"reinterpreted_batch_ndims must be >= 0, got {reinterpreted_batch_ndims}")
        self.base_constraint = _constraint(base_constraint)
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return self.base_constraint.event_dim + self.reinterpreted_batch_ndims

    def check(self, value):
        result = self.base_constraint.check(value)
        kept = result.dim() - self.reinterpreted_batch_ndims
        if kept < 0:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.dim()}")
        return result.reshape(result.shape[:kept] + (-1,)).all(-1)

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class _Cat(Constraint):
    """Constraints on consecutive pieces of a dimension."""

    def __init__(self, cseq, dim: int = 0, lengths=None) -> None:
        self.cseq = list(cseq)
        if not all(isinstance(c, Constraint) for c in self.cseq):
            raise AssertionError("All elements of cseq must be Constraint instances")
        self.lengths = list(lengths) if lengths is not None else [1] * len(self.cseq)
        if len(self.lengths) != len(self.cseq):
            raise AssertionError(f"lengths ({len(self.lengths)}) must match cseq ({len(self.cseq)})")
        self.dim = dim

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return any(c.is_discrete for c in self.cseq)

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return max(c.event_dim for c in self.cseq)

    def check(self, value):
        starts = itertools.accumulate(self.lengths, initial=0)  # what comes after the last piece is not looked at, as in PyTorch
        pieces = [value.narrow(self.dim, start, length) for start, length in zip(starts, self.lengths)]
        return ops.cat([c.check(v) for c, v in zip(self.cseq, pieces)], self.dim)


class _Stack(_Cat):
    """Constraints on the slices of a dimension."""

    def check(self, value):
        slices = value.unbind(self.dim)  # those without a constraint are not looked at, as in PyTorch
        return ops.stack([c.check(v) for c, v in zip(self.cseq, slices)], self.dim)


class MixtureSameFamilyConstraint(Constraint):
    """What a mixture's components allow, of values that lack the dimension which counts the components."""

    def __init__(self, base_constraint: Constraint) -> None:
        self.base_constraint = _constraint(base_constraint)
        super().__init__()

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return self.base_constraint.event_dim

    def check(self, value):
        if value.dim() < self.event_dim:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.dim()}")
        found = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        return found.reshape((*found.shape[: value.dim() - self.event_dim], -1)).all(-1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_constraint!r})"


_FEW = 4096  # elements: NumPy is done with them before their check is recorded
_NUMPY_ALIKE = frozenset((float32, float64, int64))  # with Python numbers, these mean the same to NumPy


def satisfied(constraint, value: Tensor) -> bool:
    """Whether ``constraint`` allows all of ``value``."""
    if value._opaque:
        return True  # each sample's own values are not known inside of vmap
    each = constraint
    while isinstance(each, _IndependentConstraint) and value.dim() >= each.event_dim:
        each = each.base_constraint
    if (
        value.numel() <= _FEW and value.dtype in _NUMPY_ALIKE and getattr(type(each), "check", None) is _Arithmetic.check
        and all([bound.__class__ in (int, float) for bound in vars(each).values()])
    ):  # fmt: skip
        with np.errstate(all="ignore"):
            return bool(each.allowed(value._array()).all())
    return bool(constraint.check(value).all())


independent, cat, stack = _IndependentConstraint, _Cat, _Stack
interval, half_open_interval, integer_interval = _Interval, _HalfOpenInterval, _IntegerInterval
greater_than, greater_than_eq, less_than, multinomial = _GreaterThan, _GreaterThanEq, _LessThan, _Multinomial
dependent = _Dependent()
boolean, real, one_hot, simplex = _Boolean(), _Real(), _OneHot(), _Simplex()
real_vector = independent(real, 1)
nonnegative_integer, positive_integer = _IntegerGreaterThan(0), _IntegerGreaterThan(1)
positive, nonnegative, unit_interval = _GreaterThan(0.0), _GreaterThanEq(0.0), _Interval(0.0, 1.0)
lower_triangular, lower_cholesky, corr_cholesky = _LowerTriangular(), _LowerCholesky(), _CorrCholesky()
square, symmetric = _Square(), _Symmetric()
positive_semidefinite, positive_definite = _PositiveSemidefinite(), _PositiveDefinite()
