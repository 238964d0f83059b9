"""Distributions of matrices, and divergences against means over samples."""

from __future__ import annotations

import warnings

import pytest

import flambeau as torch
from flambeau import distributions as D


def test_correlations_have_a_unit_diagonal():
    torch.manual_seed(0)
    d = D.LKJCholesky(4, torch.tensor([0.5, 3.0]))
    factor = d.sample((50,))
    assert factor.shape == (50, 2, 4, 4)
    assert d.support.check(factor).all()
    torch.testing.assert_close((factor @ factor.mT).diagonal(dim1=-2, dim2=-1), torch.ones(50, 2, 4))


@pytest.mark.filterwarnings("ignore:Singular sample")
def test_mean_of_covariances():
    torch.manual_seed(0)
    d = D.Wishart(torch.tensor([4.0, 7.0]), torch.tensor([[2.0, 0.5], [0.5, 1.0]]))
    torch.testing.assert_close(d.sample((20000,)).mean(0), d.mean, rtol=0.03, atol=0.05)


PAIRS = [
    (D.Beta(torch.tensor(2.0), torch.tensor(3.0)), D.Gamma(torch.tensor(2.0), torch.tensor(3.0))),
    (D.Gamma(torch.tensor(2.0), torch.tensor(3.0)), D.Gumbel(torch.tensor(0.5), torch.tensor(1.0))),
    (D.Pareto(torch.tensor(1.0), torch.tensor(5.0)), D.Normal(torch.tensor(1.0), torch.tensor(1.0))),
    (D.Uniform(torch.tensor(0.2), torch.tensor(0.9)), D.Beta(torch.tensor(2.0), torch.tensor(3.0))),
    (D.Laplace(torch.tensor(0.5), torch.tensor(1.0)), D.Normal(torch.tensor(1.0), torch.tensor(2.0))),
]


@pytest.mark.parametrize(("p", "q"), PAIRS, ids=lambda d: type(d).__name__)
def test_divergence_is_the_mean_over_samples(p, q):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = p.sample((100_000,))
        estimate = (p.log_prob(x) - q.log_prob(x)).mean()
    torch.testing.assert_close(D.kl_divergence(p, q), estimate, rtol=0.03, atol=0.01)


def test_helpers_that_libraries_take():
    from flambeau.distributions.multivariate import _batch_mahalanobis, _batch_mv, _precision_to_scale_tril

    torch.manual_seed(0)
    a = torch.randn(2, 3, 3, dtype=torch.float64)
    precision = a @ a.mT + torch.eye(3, dtype=torch.float64)
    factor, x = _precision_to_scale_tril(precision), torch.randn(2, 3, dtype=torch.float64)
    torch.testing.assert_close(factor @ factor.mT, torch.linalg.inv(precision))
    torch.testing.assert_close(_batch_mahalanobis(factor, x), (x * _batch_mv(precision, x)).sum(-1))
