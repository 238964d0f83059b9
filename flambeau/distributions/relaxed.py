"""Choices made continuous, so that gradients flow through their samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flambeau import ops
from flambeau.distributions import constraints
from flambeau.distributions.categorical import Categorical
from flambeau.distributions.composed import TransformedDistribution
from flambeau.distributions.discrete import Bernoulli, _Binary
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.elementwise_transforms import ExpTransform, SigmoidTransform
from flambeau.distributions.utils import broadcast_all, clamp_probs
from flambeau.tensor import Tensor

__all__ = ["ExpRelaxedCategorical", "LogitRelaxedBernoulli", "RelaxedBernoulli", "RelaxedOneHotCategorical"]


class LogitRelaxedBernoulli(_Binary):
    """The log odds of a :class:`RelaxedBernoulli` number.

    >>> import flambeau as torch
    >>> d = torch.distributions.LogitRelaxedBernoulli(torch.tensor(0.5), torch.tensor(0.5))
    >>> d.log_prob(torch.tensor(0.0)).exp()
    tensor(0.1250)

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.relaxed_bernoulli.LogitRelaxedBernoulli
    """

    support: Any = constraints.real
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args: bool | None = None) -> None:
        self.temperature = temperature
        self._set(probs, logits)
        super().__init__(self._param.shape, validate_args=validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        p = clamp_probs(self.probs.expand(shape))
        u = clamp_probs(ops.rand(shape, dtype=p.dtype))
        return (u.log() - (-u).log1p() + p.log() - (-p).log1p()) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        difference = logits - value.mul(self.temperature)
        return _log(self.temperature) + difference - 2 * difference.exp().log1p()


def _log(x):
    return x.log() if hasattr(x, "log") else math.log(x)


class RelaxedBernoulli(TransformedDistribution):
    """A number in (0, 1) that tends to a Bernoulli choice as the temperature falls to 0.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.distributions.RelaxedBernoulli(torch.tensor(0.1), torch.tensor([0.5, 0.5])).sample()
    tensor([0.4626, 1.0000])

    Source: Maddison, Mnih and Teh (2017), https://arxiv.org/abs/1611.00712
    """

    arg_constraints: Any = Bernoulli.arg_constraints
    support: Any = constraints.unit_interval

    def __init__(self, temperature, probs=None, logits=None, validate_args: bool | None = None) -> None:
        super().__init__(LogitRelaxedBernoulli(temperature, probs, logits), SigmoidTransform(), validate_args=validate_args)

    @property
    def temperature(self):
        return self.base_dist.temperature

    @property
    def probs(self) -> Tensor:
        return self.base_dist.probs

    @property
    def logits(self) -> Tensor:
        return self.base_dist.logits


class ExpRelaxedCategorical(Distribution):
    """The logarithm of a :class:`RelaxedOneHotCategorical` vector.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> d = torch.distributions.ExpRelaxedCategorical(torch.tensor(0.5), torch.tensor([0.5, 0.5]))
    >>> d.sample().exp().sum()
    tensor(1.)

    Source: https://docs.pytorch.org/docs/stable/distributions.html#torch.distributions.relaxed_categorical.ExpRelaxedCategorical
    """

    arg_constraints: Any = Categorical.arg_constraints
    support: Any = constraints.real_vector
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args: bool | None = None) -> None:
        self.temperature = temperature
        self._categorical = Categorical(probs, logits)
        shape = self._categorical.param_shape
        super().__init__(self._categorical.batch_shape, shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        new._categorical = self._categorical.expand(batch_shape)
        return new

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        u = clamp_probs(ops.rand(self._extended_shape(sample_shape), dtype=self.logits.dtype))
        scores = (self.logits - (-u.log()).log()) / self.temperature
        return scores - scores.logsumexp(-1, True)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        k = self._event_shape[-1]
        logits, value = broadcast_all(self.logits, value)
        scale = math.lgamma(k) + _log(self.temperature) * (k - 1)
        score = logits - value.mul(self.temperature)
        return (score - score.logsumexp(-1, True)).sum(-1) + scale


class RelaxedOneHotCategorical(TransformedDistribution):
    """A vector on the simplex that tends to a one-hot choice as the temperature falls to 0 (Gumbel-softmax).

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> d = torch.distributions.RelaxedOneHotCategorical(torch.tensor(0.1), torch.tensor([0.2, 0.3, 0.5]))
    >>> d.sample()
    tensor([9.8791e-07, 1.0000e+00, 3.8201e-08])

    Source: Jang, Gu and Poole (2017), https://arxiv.org/abs/1611.01144
    """

    arg_constraints: Any = Categorical.arg_constraints
    support: Any = constraints.simplex

    def __init__(self, temperature, probs=None, logits=None, validate_args: bool | None = None) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)

    @property
    def temperature(self):
        return self.base_dist.temperature

    @property
    def probs(self) -> Tensor:
        return self.base_dist.probs

    @property
    def logits(self) -> Tensor:
        return self.base_dist.logits
