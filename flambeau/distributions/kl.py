r"""The Kullback-Leibler divergence :math:`E_p[\ln p(x) - \ln q(x)]` of pairs of distributions, where it has a formula.

Source: https://docs.pytorch.org/docs/stable/distributions.html#module-torch.distributions.kl
"""

from __future__ import annotations

import math
from collections.abc import Callable

from flambeau import ops
from flambeau.distributions.categorical import Categorical, OneHotCategorical
from flambeau.distributions.composed import Independent, TransformedDistribution
from flambeau.distributions.continuous import Cauchy, Exponential, Laplace, Normal, Uniform
from flambeau.distributions.discrete import Bernoulli, Binomial, Geometric, Poisson
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.gamma_family import Beta, Dirichlet, Gamma
from flambeau.distributions.multivariate import MultivariateNormal, _batch_mahalanobis, half_log_det
from flambeau.distributions.transformed import Gumbel, HalfNormal
from flambeau.distributions.utils import functional, sum_rightmost
from flambeau.tensor import Tensor

__all__ = ["kl_divergence", "register_kl"]

_KL_REGISTRY: dict[tuple[type, type], Callable] = {}


def register_kl(type_p: type, type_q: type) -> Callable:
    """Decorates the function ``f(p, q)`` that computes the divergence for a pair of classes and their subclasses."""
    for t in (type_p, type_q):
        if not isinstance(t, type):
            raise TypeError(f"Expected type_p and type_q to be Distribution classes but got {t}")

    def decorate(function: Callable) -> Callable:
        _KL_REGISTRY[type_p, type_q] = function
        return function

    return decorate


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The Kullback-Leibler divergence of ``q`` from ``p``, for each distribution of the batch.

    >>> import flambeau as torch
    >>> from flambeau.distributions import Normal, kl_divergence
    >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0))
    tensor(0.5000)

    Raises:
        NotImplementedError: no formula is known (see :func:`register_kl`).
    """
    # The pair of classes that is nearest to the pair of types, the first of the two before the second.
    for class_p in type(p).__mro__:
        for class_q in type(q).__mro__:
            rule = _KL_REGISTRY.get((class_p, class_q))
            if rule is not None:
                return rule(p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}; "
        "estimate it by the mean of p.log_prob(x) - q.log_prob(x) over samples x of p"
    )


def unless(impossible, value):
    """``value``, or infinity where ``q`` lacks values that ``p`` has."""
    return ops.where(impossible, math.inf, value)


@register_kl(Normal, Normal)
def _(p, q):
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(HalfNormal, HalfNormal)
def _(p, q):
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(MultivariateNormal, MultivariateNormal)
def _(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with\n"
            f"different event shapes cannot be computed: {p.event_shape} and {q.event_shape}"
        )
    a, b = p._unbroadcasted_scale_tril, q._unbroadcasted_scale_tril
    batch = ops.broadcast_tensors(a[..., 0, 0], b[..., 0, 0])[0].shape
    a, b = a.expand(batch + a.shape[-2:]), b.expand(batch + b.shape[-2:])
    trace = ops.namespace("linalg")["solve_triangular"](b, a, upper=False).pow(2).sum((-2, -1))
    log_dets = half_log_det(b) - half_log_det(a)
    return log_dets + 0.5 * (trace + _batch_mahalanobis(b, q.loc - p.loc) - p.event_shape[0])


@register_kl(Bernoulli, Bernoulli)
def _(p, q):
    softplus = functional["softplus"]
    success = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    failure = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    success = ops.where(p.probs == 0, 0.0, ops.where(q.probs == 0, math.inf, success))
    failure = ops.where(p.probs == 1, 0.0, ops.where(q.probs == 1, math.inf, failure))
    return success + failure


@register_kl(Binomial, Binomial)
def _(p, q):
    if (p.total_count < q.total_count).any():
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    gap = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return unless((p.total_count > q.total_count).expand(gap.shape), gap)


@register_kl(Categorical, Categorical)
def _(p, q):
    gap = p.probs * (p.logits - q.logits)
    gap = ops.where(q.probs == 0, math.inf, gap)
    return ops.where(p.probs == 0, 0.0, gap).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _(p, q):
    return kl_divergence(p._categorical, q._categorical)


@register_kl(Geometric, Geometric)
def _(p, q):
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _(p, q):
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Exponential, Exponential)
def _(p, q):
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Gamma, Gamma)
def _(p, q):
    a, b = p.concentration, q.concentration
    return b * (p.rate / q.rate).log() + b.lgamma() - a.lgamma() + (a - b) * a.digamma() + (q.rate - p.rate) * (a / p.rate)


@register_kl(Beta, Beta)
def _(p, q):
    return kl_divergence(p._dirichlet, q._dirichlet)


@register_kl(Dirichlet, Dirichlet)
def _(p, q):
    a, b = p.concentration, q.concentration
    total_a, total_b = a.sum(-1), b.sum(-1)
    norms = total_a.lgamma() - total_b.lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return norms + ((a - b) * (a.digamma() - total_a.digamma().unsqueeze(-1))).sum(-1)


@register_kl(Laplace, Laplace)
def _(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _(p, q):
    spread = (p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)
    return spread.log() - (4 * p.scale * q.scale).log()


@register_kl(Uniform, Uniform)
def _(p, q):
    widths = ((q.high - q.low) / (p.high - p.low)).log()
    return unless((q.low > p.low) | (q.high < p.high), widths)


@register_kl(Gumbel, Gumbel)
def _(p, q):
    euler = 0.5772156649015329
    ratio, shift = p.scale / q.scale, (q.loc - p.loc) / q.scale
    return -ratio.log() + ratio * euler + (shift + (1 + ratio).lgamma()).exp() - (1 + euler) - shift


@register_kl(Uniform, Normal)
def _(p, q):
    width = p.high - p.low
    centre = ((p.high + p.low - 2 * q.loc) / 2).pow(2)
    return (math.sqrt(2 * math.pi) * q.scale / width).log() + 0.5 * (width.pow(2) / 12 + centre) / q.scale.pow(2)


@register_kl(Normal, Laplace)
def _(p, q):
    gap, z = p.loc - q.loc, (p.loc - q.loc) / p.scale
    mean_distance = math.sqrt(2 / math.pi) * p.scale * (-0.5 * z.pow(2)).exp() + gap * (z / math.sqrt(2)).erf()
    return -(p.scale / q.scale).log() + mean_distance / q.scale - 0.5 * math.log(0.5 * math.pi) - 0.5


@register_kl(Exponential, Gamma)
def _(p, q):
    ratio = q.rate / p.rate
    return (
        -q.concentration * ratio.log()
        + ratio
        + q.concentration.lgamma()
        + q.concentration * 0.5772156649015329
        - (1 + 0.5772156649015329)
    )


@register_kl(TransformedDistribution, TransformedDistribution)
def _(p, q):
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("KL of transformed distributions needs the same transforms on both sides")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), len(p.event_shape) - len(p.base_dist.event_shape))


@register_kl(Independent, Independent)
def _(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("KL of Independent distributions needs as many reinterpreted dimensions on both sides")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)
