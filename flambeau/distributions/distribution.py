"""The base class of all distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from flambeau.autograd import no_grad
from flambeau.core.size import Size
from flambeau.distributions import constraints
from flambeau.distributions.utils import lazy_property
from flambeau.tensor import Tensor

__all__ = ["Distribution", "ExponentialFamily"]


class Distribution:
    """A distribution, or a batch of them: ``batch_shape`` of independent ones, each over values of ``event_shape``.

    ``sample`` and ``rsample`` (through which gradients flow to the parameters) give tensors of shape
    ``sample_shape + batch_shape + event_shape``; ``log_prob`` gives one number for each event.

    Raises ``ValueError`` for parameters and values that are not of the distribution, unless ``validate_args=False``.

    >>> import flambeau as torch
    >>> batch = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    >>> batch.batch_shape, batch.sample((2,)).shape
    (torch.Size([3]), torch.Size([2, 3]))

    Source: https://docs.pytorch.org/docs/stable/distributions.html
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: Any = {}
    support: Any = None
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether arguments are checked where ``validate_args`` is not given."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(self, batch_shape: Sequence[int] = (), event_shape: Sequence[int] = (), validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()

    def _check_parameters(self) -> None:
        for name, constraint in self.arg_constraints.items():
            if constraints.is_dependent(constraint) or name not in self.__dict__ and _is_lazy(type(self), name):
                continue
            value = getattr(self, name)
            if not isinstance(value, Tensor):
                continue
            if not constraints.satisfied(constraint, value):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    @property
    def batch_shape(self) -> Size:
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        return self._event_shape

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws ``sample_shape`` samples of each distribution of the batch."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """As ``sample``, with gradients to the parameters."""
        raise NotImplementedError

    def sample_n(self, n: int) -> Tensor:
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density or probability of ``value``."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def entropy(self) -> Tensor:
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution, along a new first dimension."""
        raise NotImplementedError

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        """This distribution with its batch dimensions expanded to ``batch_shape``."""
        batch_shape = Size(batch_shape)
        new = type(self).__new__(type(self)) if _instance is None else _instance
        for name, value in self.__dict__.items():
            if name in self.arg_constraints and isinstance(value, Tensor):
                new.__dict__[name] = value.expand(batch_shape + value.shape[value.dim() - self._event_dims(name) :])
            else:
                new.__dict__.setdefault(name, value)
        new._batch_shape = batch_shape
        return new

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        """What ``expand`` of ``cls`` fills: ``_instance``, or else an empty object of this one's class.

        Raises:
            NotImplementedError: that is a subclass with an ``__init__`` of its own, of which ``cls`` does not know.
        """
        if _instance is None and type(self).__init__ != cls.__init__:  # type: ignore[misc]
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ method must also define a custom "
                ".expand() method."
            )
        return type(self).__new__(type(self)) if _instance is None else _instance

    def _event_dims(self, name: str) -> int:
        """How many of the last dimensions of the parameter belong to one distribution."""
        return getattr(self, name).dim() - len(self._batch_shape)

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        start = value.dim() - len(self._event_shape)
        if value.shape[start:] != self._event_shape:
            raise ValueError(f"The right-most size of value must match event_shape: {value.shape} vs {self._event_shape}.")
        expected = self._batch_shape + self._event_shape
        if value.shape != expected:
            for i, j in zip(reversed(value.shape), reversed(expected), strict=False):
                if i != 1 and j != 1 and i != j:
                    raise ValueError(f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {expected}.")
        support = self.support
        if support is not None and not constraints.satisfied(support, value):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the support "
                f"({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        found = {k: self.__dict__[k] for k in self.arg_constraints if k in self.__dict__}
        shown = ", ".join(f"{k}: {v if v.numel() == 1 else v.size()}" for k, v in found.items())
        return f"{type(self).__name__}({shown})"


def _is_lazy(cls: type, name: str) -> bool:
    return isinstance(getattr(cls, name, None), lazy_property)


class ExponentialFamily(Distribution):
    """Distributions whose density is ``exp(<natural parameters, statistics> - log normalizer)``.

    >>> import flambeau as torch
    >>> isinstance(torch.distributions.Normal(0.0, 1.0), torch.distributions.ExponentialFamily)
    True

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.exp_family.ExponentialFamily
    """
