"""Distributions: densities that integrate to one, gradients through samples, shapes, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau as torch
from flambeau import distributions as D
from flambeau.distributions import constraints
from flambeau.distributions.gradients import dirichlet_gradient, gamma_gradient


def t(*values: float):
    return torch.tensor(values, dtype=torch.float64)


DENSITIES = {
    "Normal": (lambda: D.Normal(t(0.3), t(1.2)), -12, 12),
    "Laplace": (lambda: D.Laplace(t(0.3), t(0.7)), -20, 20),
    "StudentT": (lambda: D.StudentT(t(9.0), t(0.3), t(0.7)), -60, 60),
    "Uniform": (lambda: D.Uniform(t(-1.0), t(2.0)), -0.999999, 1.999999),
    "Exponential": (lambda: D.Exponential(t(1.5)), 1e-9, 30),
    "Gamma": (lambda: D.Gamma(t(2.5), t(1.5)), 1e-9, 40),
    "Beta": (lambda: D.Beta(t(2.5), t(1.5)), 1e-9, 1 - 1e-9),
    "LogNormal": (lambda: D.LogNormal(t(0.1), t(0.4)), 1e-9, 30),
    "HalfNormal": (lambda: D.HalfNormal(t(1.3)), 1e-9, 20),
    "Gumbel": (lambda: D.Gumbel(t(0.1), t(0.8)), -5, 40),
    "Weibull": (lambda: D.Weibull(t(1.1), t(1.8)), 1e-9, 20),
    "Kumaraswamy": (lambda: D.Kumaraswamy(t(2.0), t(3.0)), 1e-9, 1 - 1e-9),
    "VonMises": (lambda: D.VonMises(t(0.4), t(2.0)), -math.pi, math.pi),
    "FisherSnedecor": (lambda: D.FisherSnedecor(t(5.0), t(20.0)), 1e-9, 300),
    "ContinuousBernoulli": (lambda: D.ContinuousBernoulli(t(0.3)), 0, 1),
    "RelaxedBernoulli": (lambda: D.RelaxedBernoulli(t(2.0), t(0.3)), 1e-7, 1 - 1e-7),
    "Mixture": (lambda: D.MixtureSameFamily(D.Categorical(t(0.3, 0.7)), D.Normal(t(-1.0, 1.0), t(0.5, 0.7))), -10, 10),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_density_integrates_to_one(name):
    make, low, high = DENSITIES[name]
    x = np.linspace(low, high, 200001)
    density = make().log_prob(torch.from_numpy(x).reshape(-1, *make().batch_shape)).exp().numpy().ravel()
    # The trapezoidal rule: density tails beyond the ends, and corners, cost up to 1e-4.
    assert abs(np.trapezoid(density, x) - 1) < 2e-4


COUNTS = {
    "Bernoulli": lambda: D.Bernoulli(t(0.3)),
    "Binomial": lambda: D.Binomial(6, t(0.3)),
    "Categorical": lambda: D.Categorical(t(1.0, 2.0, 3.0)),
    "OneHotCategorical": lambda: D.OneHotCategorical(t(1.0, 2.0, 3.0)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_probabilities_sum_to_one(name):
    d = COUNTS[name]()
    assert abs(d.log_prob(d.enumerate_support()).exp().sum(0).max().item() - 1) < 1e-12


@pytest.mark.parametrize("make", [lambda: D.Geometric(t(0.4)), lambda: D.Poisson(t(3.0)), lambda: D.NegativeBinomial(4, t(0.3))])
def test_probabilities_of_counts_sum_to_one(make):
    assert abs(make().log_prob(torch.arange(200, dtype=torch.float64)).exp().sum().item() - 1) < 1e-10


@pytest.mark.parametrize("a", [0.05, 0.7, 3.0, 80.0, 2e4])
def test_gradient_of_a_gamma_sample(a):
    x = np.random.default_rng(0).gamma(a, size=50)
    x = x[x > 1e-6]
    h = 1e-4 * min(a, 1)
    gammainc, p = torch.special.gammainc, torch.from_numpy(x)

    def cdf(a: float) -> np.ndarray:
        return gammainc(torch.full_like(p, a), p).numpy()

    slope = (cdf(a + h) - cdf(a - h)) / (2 * h)
    density = D.Gamma(torch.full_like(p, a), torch.ones_like(p)).log_prob(p).exp().numpy()
    # 1e-3: what differences of the distribution function leave of its digits
    np.testing.assert_allclose(gamma_gradient(x, np.array(a)), -slope / density, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.6), (2.0, 5.0), (60.0, 4.0)])
def test_gradient_of_a_beta_sample(a, b):
    x = np.clip(np.random.default_rng(0).beta(a, b, size=30), 1e-6, 1 - 1e-6)
    grid = (np.polynomial.legendre.leggauss(400)[0] + 1) / 2
    weights = np.polynomial.legendre.leggauss(400)[1] / 2

    def cdf(a: float) -> np.ndarray:  # with t = x u^(1/a), whose integrand is smooth at 0
        t = x[:, None] * grid ** (1 / a)
        beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
        return (weights * (1 - t) ** (b - 1)).sum(1) * x**a / a / math.exp(beta)

    h = 1e-5
    slope = (cdf(a + h) - cdf(a - h)) / (2 * h)
    density = D.Beta(t(a), t(b)).log_prob(torch.from_numpy(x)).exp().numpy()
    found = dirichlet_gradient(x, np.array(a), np.array(a + b)) * (1 - x)
    # near 1 with b < 1 the rule above loses digits, so some points are left to the other parameters
    good = x < 0.95
    np.testing.assert_allclose(found[good], (-slope / density)[good], rtol=1e-4)


def test_gradients_flow_through_samples():
    loc, scale = torch.zeros(2, requires_grad=True), torch.ones(2, requires_grad=True)
    D.Normal(loc, scale).rsample((100,)).pow(2).mean().backward()
    assert loc.grad is not None and scale.grad is not None
    assert not D.Normal(loc, scale).sample().requires_grad


@pytest.mark.parametrize(
    "make", [lambda a: D.Gamma(a, a), lambda a: D.Beta(a, a), lambda a: D.Dirichlet(a), lambda a: D.StudentT(a)]
)
def test_gradients_of_rejection_samplers(make):
    a = t(1.5, 2.5).requires_grad_()
    make(a).rsample((50,)).pow(2).sum().backward()
    assert a.grad.isfinite().all() and (a.grad != 0).all()


def test_shapes():
    d = D.Independent(D.Normal(torch.zeros(3, 4), torch.ones(3, 4)), 1)
    assert d.batch_shape == (3,) and d.event_shape == (4,)
    assert d.sample((2,)).shape == (2, 3, 4) and d.log_prob(torch.zeros(3, 4)).shape == (3,)
    assert d.expand((5, 3)).batch_shape == (5, 3)
    assert D.MultivariateNormal(torch.zeros(2), torch.eye(2)).expand((3,)).sample().shape == (3, 2)


def test_divergence_is_the_mean_of_log_ratios():
    torch.manual_seed(0)
    p, q = D.Gamma(t(2.0), t(1.0)), D.Gamma(t(3.0), t(1.5))
    x = p.sample((40000,))
    estimate = (p.log_prob(x) - q.log_prob(x)).mean().item()
    assert abs(D.kl_divergence(p, q).item() - estimate) < 0.01  # four deviations of the mean
    with pytest.raises(NotImplementedError, match=r"No KL\(p \|\| q\) is implemented for p type StudentT"):
        D.kl_divergence(D.StudentT(3.0), D.Normal(0.0, 1.0))


def test_register_kl():
    class Mine(D.Normal):
        pass

    D.register_kl(Mine, Mine)(lambda p, q: torch.tensor(7.0))
    assert D.kl_divergence(Mine(0.0, 1.0), Mine(0.0, 1.0)) == 7


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: D.Normal(0.0, -1.0), r"Expected parameter scale \(Tensor of shape \(\)\) of distribution Normal\("),
        (lambda: D.Categorical(torch.ones(3)).log_prob(torch.tensor(4)), "to be within the support"),
        (lambda: D.Normal(torch.zeros(3), torch.ones(3)).log_prob(torch.zeros(2)), "not broadcastable with batch_shape"),
        (lambda: D.Bernoulli(), "Either `probs` or `logits` must be specified, but not both."),
        (lambda: D.Independent(D.Normal(0.0, 1.0), 1), "Expected reinterpreted_batch_ndims"),
    ],
)
def test_errors(call, match):
    with pytest.raises(ValueError, match=match):
        call()


_INF, _NAN = math.inf, math.nan


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "constraint",
    [
        constraints.unit_interval, constraints.half_open_interval(0, 1), constraints.integer_interval(0, 1),
        constraints.positive, constraints.nonnegative, constraints.nonnegative_integer, constraints.positive_integer,
        constraints.less_than(2), constraints.boolean, constraints.real, constraints.simplex, constraints.one_hot,
        constraints.multinomial(2), constraints.real_vector, constraints.independent(constraints.positive, 2),
        constraints.interval(torch.tensor([0.0, 0.5]), 1.0),
    ],
    ids=repr,
)  # fmt: skip
def test_constraints_hold_where_their_check_is_true_of_all(constraint):
    pairs = [(0, 1), (0, 0), (1, 1), (1, 2), (3, 1), (-1, 2), (0.5, 0.5), (0.25, 0.5), (_NAN, 1), (_INF, 0), (_INF, -_INF)]
    for pair in pairs:
        for dtype in (torch.float32, torch.float64, torch.float16, torch.int64, torch.int32):
            if dtype.is_floating_point or all(isinstance(x, int) for x in pair):
                value = torch.tensor([pair, pair], dtype=dtype)
                many = value[:1].expand(3000, 2)
                for v in (value, value.t().contiguous().t(), many):
                    assert constraints.satisfied(constraint, v) is bool(constraint.check(v).all())


def test_users_constraints_are_asked_with_tensors():
    class Even(constraints.Constraint):
        def check(self, value):
            return value.remainder(2).eq(0)

    class Small(constraints.greater_than):
        def check(self, value):
            return value.lt(self.lower_bound)

    assert constraints.satisfied(Even(), torch.tensor([2, 4])) and not constraints.satisfied(Even(), torch.tensor([2, 3]))
    assert constraints.satisfied(Small(3), torch.tensor([2])) and not constraints.satisfied(Small(3), torch.tensor([4]))


def test_validation_can_be_switched_off():
    assert D.Normal(0.0, -1.0, validate_args=False).scale == -1


def test_transforms_invert():
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for transform in (
        D.ExpTransform(),
        D.SigmoidTransform(),
        D.TanhTransform(),
        D.SoftplusTransform(),
        D.AffineTransform(1.0, -2.0),
    ):
        y = transform(x)
        torch.testing.assert_close(transform.inv(y), x)
        leaf = x.clone().requires_grad_()
        transform(leaf).sum().backward()
        torch.testing.assert_close(transform.log_abs_det_jacobian(x, y), leaf.grad.abs().log())
