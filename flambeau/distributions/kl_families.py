r"""Divergences :math:`-H(p) - E_p[\ln q(x)]` between different families.

Each rule is the cross entropy of its pair. Where ``p`` has values that ``q`` has not, the divergence is infinite.

Source: https://docs.pytorch.org/docs/stable/distributions.html#module-torch.distributions.kl
"""

from __future__ import annotations

import math

from flambeau import ops
from flambeau.distributions.continuous import Exponential, Laplace, Normal, Uniform
from flambeau.distributions.discrete import Bernoulli, Binomial, ContinuousBernoulli, Poisson
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.gamma_family import Beta, Gamma
from flambeau.distributions.kl import register_kl, unless
from flambeau.distributions.multivariate import (
    LowRankMultivariateNormal,
    MultivariateNormal,
    _batch_mahalanobis,
    half_log_det,
)
from flambeau.distributions.transformed import Gumbel, Pareto

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


# --- cross entropies: -E_p[ln q(x)], from what is known of p ----------------------------------------------------


def _against_normal(q, mean, variance):
    return q.scale.log() + _HALF_LOG_TAU + (variance + (mean - q.loc).pow(2)) / (2 * q.scale.pow(2))


def _against_exponential(q, mean):
    return q.rate * mean - q.rate.log()


def _against_gamma(q, mean, mean_of_log):
    a, b = q.concentration, q.rate
    return a.lgamma() - a * b.log() - (a - 1) * mean_of_log + b * mean


def _against_gumbel(q, mean, mean_of_exp):
    """``mean_of_exp`` is that of exp(-x / q.scale)."""
    return q.scale.log() + (mean - q.loc) / q.scale + (q.loc / q.scale).exp() * mean_of_exp


def _against_continuous_bernoulli(q, mean):
    return -mean * q.logits - q.log_prob(ops.zeros_like(q.probs))


def _x_log_x(x):
    return x.xlogy(x)


# --- pairs without an overlap ------------------------------------------------------------------------------------


def _infinite(p, q):
    parameter = next(getattr(p, name) for name in ("loc", "rate", "concentration1", "probs", "scale") if hasattr(p, name))
    return ops.full_like(parameter, math.inf)


_REAL, _POSITIVE = (Gumbel, Laplace, Normal), (Exponential, Gamma)
_IN_UNIT = (Beta, ContinuousBernoulli)
_p: type[Distribution]
_q: type[Distribution]
for _p in _REAL:
    for _q in (*_IN_UNIT, Exponential, Gamma, Pareto, Uniform):
        register_kl(_p, _q)(_infinite)
for _p in (*_POSITIVE, Pareto):
    for _q in (*_IN_UNIT, Uniform):
        register_kl(_p, _q)(_infinite)
for _p in (*_POSITIVE, *_IN_UNIT):
    register_kl(_p, Pareto)(_infinite)
for _q in (Bernoulli, Binomial):
    register_kl(Poisson, _q)(_infinite)


# --- within a family ---------------------------------------------------------------------------------------------


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _(p, q):
    return -p.entropy() + _against_continuous_bernoulli(q, p.mean)


@register_kl(Pareto, Pareto)
def _(p, q):
    ratio = q.alpha / p.alpha
    return unless(p.scale < q.scale, q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1)


def _covariance(d):
    """The factors of a covariance: sums of outer products."""
    if isinstance(d, LowRankMultivariateNormal):
        return d.cov_factor, d.cov_diag.sqrt().diag_embed()
    return (d._unbroadcasted_scale_tril,)


def _normals(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"KL-divergence between two {'Low Rank ' if type(p) is type(q) else '(Low Rank) '}Multivariate Normals with\n"
            f"different event shapes cannot be computed: {p.event_shape} and {q.event_shape}"
        )
    a, b = p.scale_tril, q.scale_tril
    solve = ops.namespace("linalg")["solve_triangular"]
    trace = sum([solve(b, factor, upper=False).pow(2).sum((-2, -1)) for factor in _covariance(p)])
    return half_log_det(b) - half_log_det(a) + 0.5 * (trace + _batch_mahalanobis(b, q.loc - p.loc) - p.event_shape[0])


register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)(_normals)
register_kl(MultivariateNormal, LowRankMultivariateNormal)(_normals)
register_kl(LowRankMultivariateNormal, MultivariateNormal)(_normals)


# --- from values in [0, 1] -----------------------------------------------------------------------------------------


@register_kl(Bernoulli, Poisson)
def _(p, q):
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Beta, ContinuousBernoulli)
def _(p, q):
    return -p.entropy() + _against_continuous_bernoulli(q, p.mean)


@register_kl(Beta, Gamma)
def _(p, q):
    mean_of_log = p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    return -p.entropy() + _against_gamma(q, p.mean, mean_of_log)


def _bounded_to_normal(p, q):
    return -p.entropy() + _against_normal(q, p.mean, p.variance)


def _bounded_to_exponential(p, q):
    return -p.entropy() + _against_exponential(q, p.mean)


for _p in _IN_UNIT:
    register_kl(_p, Normal)(_bounded_to_normal)
    register_kl(_p, Exponential)(_bounded_to_exponential)


@register_kl(Beta, Uniform)
def _(p, q):
    return unless((q.low > 0) | (q.high < 1), -p.entropy() + (q.high - q.low).log())


@register_kl(ContinuousBernoulli, Uniform)
def _(p, q):  # PyTorch calls it infinite where bounds are equal, too
    return unless((q.low >= 0) | (q.high <= 1), -p.entropy() + (q.high - q.low).log())


# --- from positive values --------------------------------------------------------------------------------------------


@register_kl(Exponential, Gumbel)
def _(p, q):
    product = p.rate * q.scale
    return -p.entropy() + _against_gumbel(q, p.mean, product / (product + 1))


@register_kl(Gamma, Gumbel)
def _(p, q):
    mean_of_exp = (1 + (p.rate * q.scale).reciprocal()).pow(-p.concentration)
    return -p.entropy() + _against_gumbel(q, p.mean, mean_of_exp)


@register_kl(Gamma, Exponential)
def _(p, q):
    return -p.entropy() + _against_exponential(q, p.mean)


def _positive_to_normal(p, q):
    return -p.entropy() + _against_normal(q, p.mean, p.variance)


for _p in _POSITIVE:
    register_kl(_p, Normal)(_positive_to_normal)


@register_kl(Pareto, Exponential)
def _(p, q):
    return unless(p.alpha <= 1, -p.entropy() + _against_exponential(q, p.mean))


@register_kl(Pareto, Gamma)
def _(p, q):
    return unless(p.alpha <= 1, -p.entropy() + _against_gamma(q, p.mean, p.scale.log() + p.alpha.reciprocal()))


@register_kl(Pareto, Normal)
def _(p, q):
    return unless(p.alpha <= 2, -p.entropy() + _against_normal(q, p.mean, p.variance))


# --- from all real values ----------------------------------------------------------------------------------------------


def _real_to_normal(p, q):
    return -p.entropy() + _against_normal(q, p.mean, p.variance)


for _p in (Gumbel, Laplace):
    register_kl(_p, Normal)(_real_to_normal)


@register_kl(Normal, Gumbel)
def _(p, q):
    mean_of_exp = (0.5 * (p.scale / q.scale).pow(2) - p.loc / q.scale).exp()
    return -p.entropy() + _against_gumbel(q, p.loc, mean_of_exp)


# --- from an interval ----------------------------------------------------------------------------------------------------


def _mean_of_log(p):
    """That of a uniform distribution over positive values."""
    width = p.high - p.low
    return (_x_log_x(p.high) - _x_log_x(p.low)) / width - 1


@register_kl(Uniform, Beta)
def _(p, q):
    a, b, width = q.concentration1, q.concentration0, p.high - p.low
    of_rest = (_x_log_x(1 - p.low) - _x_log_x(1 - p.high)) / width - 1  # the mean of ln(1 - x)
    norm = a.lgamma() + b.lgamma() - (a + b).lgamma()
    return unless((p.high > 1) | (p.low < 0), -width.log() + norm - (a - 1) * _mean_of_log(p) - (b - 1) * of_rest)


@register_kl(Uniform, ContinuousBernoulli)
def _(p, q):  # likewise
    return unless((p.high >= 1) | (p.low <= 0), -p.entropy() + _against_continuous_bernoulli(q, p.mean))


@register_kl(Uniform, Exponential)
def _(p, q):
    return unless(p.low < 0, -p.entropy() + _against_exponential(q, p.mean))


@register_kl(Uniform, Gamma)
def _(p, q):
    return unless(p.low < 0, -p.entropy() + _against_gamma(q, p.mean, _mean_of_log(p)))


@register_kl(Uniform, Gumbel)
def _(p, q):
    mean_of_exp = q.scale / (p.high - p.low) * ((-p.low / q.scale).exp() - (-p.high / q.scale).exp())
    return -p.entropy() + _against_gumbel(q, p.mean, mean_of_exp)


@register_kl(Uniform, Pareto)
def _(p, q):
    value = -p.entropy() - q.alpha.log() - q.alpha * q.scale.log() + (q.alpha + 1) * _mean_of_log(p)
    return unless(p.low < q.scale, value)
