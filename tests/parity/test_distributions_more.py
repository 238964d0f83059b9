"""Divergences of all pairs that PyTorch knows, and distributions of matrices, against PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
kl = pytest.importorskip("torch.distributions.kl")

MAKE = {
    "Bernoulli": lambda d, t, i: d.Bernoulli(t([0.3, 0.6 + i / 10])),
    "Beta": lambda d, t, i: d.Beta(t([1.5, 2.0 + i]), t([2.0, 0.7])),
    "Binomial": lambda d, t, i: d.Binomial(5, t([0.3, 0.6 + i / 10])),
    "Categorical": lambda d, t, i: d.Categorical(t([[0.2, 0.8], [0.5 + i / 5, 0.5]])),
    "Cauchy": lambda d, t, i: d.Cauchy(t([0.3, 1.0 + i]), t([2.0, 0.7])),
    "ContinuousBernoulli": lambda d, t, i: d.ContinuousBernoulli(t([0.3, 0.6 + i / 10])),
    "Dirichlet": lambda d, t, i: d.Dirichlet(t([[1.5, 2.0 + i], [0.7, 1.0]])),
    "Exponential": lambda d, t, i: d.Exponential(t([1.5, 2.0 + i])),
    "Gamma": lambda d, t, i: d.Gamma(t([1.5, 2.0 + i]), t([2.0, 0.7])),
    "Geometric": lambda d, t, i: d.Geometric(t([0.3, 0.6 + i / 10])),
    "Gumbel": lambda d, t, i: d.Gumbel(t([0.3, 1.0 + i]), t([2.0, 0.7])),
    "HalfNormal": lambda d, t, i: d.HalfNormal(t([1.5, 2.0 + i])),
    "Independent": lambda d, t, i: d.Independent(d.Normal(t([0.3, 1.0 + i]), t([2.0, 0.7])), 1),
    "Laplace": lambda d, t, i: d.Laplace(t([0.3, 1.0 + i]), t([2.0, 0.7])),
    "LowRankMultivariateNormal": lambda d, t, i: d.LowRankMultivariateNormal(t([0.3, 1.0 + i]), t([[2.0], [0.7]]), t([1.0, 0.5])),
    "MultivariateNormal": lambda d, t, i: d.MultivariateNormal(t([0.3, 1.0 + i]), t([[2.0, 0.5], [0.5, 0.7]])),
    "Normal": lambda d, t, i: d.Normal(t([0.3, 1.0 + i]), t([2.0, 0.7])),
    "OneHotCategorical": lambda d, t, i: d.OneHotCategorical(t([[0.2, 0.8], [0.5 + i / 5, 0.5]])),
    "Pareto": lambda d, t, i: d.Pareto(t([1.5, 1.0 - i / 2]), t([2.5, 1.7])),
    "Poisson": lambda d, t, i: d.Poisson(t([1.5, 2.0 + i])),
    "TransformedDistribution": lambda d, t, i: d.LogNormal(t([0.3, 1.0 + i]), t([2.0, 0.7])),
    "Uniform": lambda d, t, i: d.Uniform(t([0.0, 0.2 - i]), t([1.0, 0.9 + i])),
}
PAIRS = sorted({(a.__name__, b.__name__) for a, b in kl._KL_REGISTRY if a.__name__ != "ExponentialFamily"})


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_divergences(p, q):
    def divergence(library):
        d = library.distributions
        return d.kl_divergence(MAKE[p](d, library.tensor, 0), MAKE[q](d, library.tensor, 1)).tolist()

    np.testing.assert_allclose(divergence(flambeau), divergence(torch), rtol=1e-5, atol=1e-6)


MATRICES = {
    "LKJCholesky": "D.LKJCholesky(3, torch.tensor([0.5, 2.0]))",
    "LKJCholesky of one": "D.LKJCholesky(4)",
    "Wishart": "D.Wishart(torch.tensor(5.0), torch.tensor([[2.0, 0.5], [0.5, 1.0]]))",
    "Wishart of a batch": "D.Wishart(torch.tensor([5.0, 6.0]), precision_matrix=torch.tensor([[2.0, 0.5], [0.5, 1.0]]))",
    "Wishart of a factor": "D.Wishart(4, scale_tril=torch.tensor([[2.0, 0.0], [0.5, 1.0]])).expand((3,))",
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_matrices(name, shape):
    """Samples of the same stream, and what is known of the distribution."""

    def described(library, at):
        library.manual_seed(0)
        d = eval(MATRICES[name], {"D": library.distributions, "torch": library})
        # The density of one sample for both: near the edge it says much of what is left of 1, and so of its rounding.
        found = [d.sample(shape), d.log_prob(library.tensor(at)), library.randn(2)]
        if "Wishart" in name:
            found += [d.mean, d.variance, d.mode, d.entropy(), d.covariance_matrix, d.precision_matrix, d.scale_tril]
        return [x.numpy() for x in found]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        at = eval(MATRICES[name], {"D": torch.distributions, "torch": torch}).sample(shape).numpy()
        for ours, theirs in zip(described(flambeau, at), described(torch, at), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)  # roots of what is left of 1 keep few of its digits


@pytest.mark.parametrize("name", MATRICES)
def test_gradients(name, agree):
    agree(f"""
D = torch.distributions
torch.manual_seed(0)
c = torch.tensor([3.0]).requires_grad_()
d = {"D.LKJCholesky(3, c)" if "LKJ" in name else "D.Wishart(c + 3, torch.eye(2))"}
value = torch.eye({3 if "LKJ" in name else 2})
d.log_prob(value).sum().backward()
round(c.grad.item(), 4)
""")


@pytest.mark.parametrize(
    "wrong", ["D.LKJCholesky(1)", "D.Wishart(torch.tensor(0.5), torch.eye(2))", "D.Wishart(torch.tensor(4.0))"]
)
def test_refusals(wrong, agree):
    agree(f"D = torch.distributions\n{wrong}")


KINDS = sorted(
    name for name in torch.distributions.__all__
    if isinstance(kind := getattr(torch.distributions, name), type) and issubclass(kind, (torch.distributions.Distribution, torch.distributions.Transform))
    and name not in ("Distribution", "ExponentialFamily")
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_what_classes_say_before_there_is_an_object(name, agree):
    """Supports, domains and codomains that depend on parameters stand for constraints of which as much is known as PyTorch knows."""
    for where in ("support", "domain", "codomain"):
        if hasattr(getattr(torch.distributions, name), where) and not isinstance(
            getattr(getattr(torch.distributions, name), where), type
        ):
            for what in ("is_discrete", "event_dim"):
                agree(f"torch.distributions.{name}.{where}.{what}")


@pytest.mark.parametrize(
    "c", ["C.real", "C.positive", "C.nonnegative", "C.greater_than(2.0)", "C.less_than(1.0)", "C.unit_interval", "C.interval(-1.0, 1.0)", "C.simplex", "C.independent(C.positive, 1)", "C.real_vector", "C.corr_cholesky", "C.half_open_interval(0.0, 2.0)"]
)  # fmt: skip
def test_texts_of_transforms(c, agree):
    agree(f"D = torch.distributions\nC = D.constraints\nD.transform_to({c}), D.biject_to({c})")


@pytest.mark.parametrize(
    "program",
    [
        "C.cat([C.positive, C.real], 0, [1, 1]).check(torch.ones(3))",
        "C.stack([C.positive], 0).check(-torch.ones(3, 2))",
        "C.stack([C.real, C.positive]).check(torch.tensor([0.2, 0.3, 0.5]))",
        "C.cat([1])",
        "C.stack([1])",
        "C.cat([C.real], lengths=[1, 2])",
        "C.independent(3, 1)",
        "C.independent(C.real, -1)",
        "C.dependent(is_discrete=True).is_discrete, C.dependent(event_dim=2).event_dim",
        "C.dependent.is_discrete",
        "D.AbsTransform().sign",
        "D.TanhTransform().sign, D.ExpTransform().event_dim, D.AffineTransform(0.0, -2.0, event_dim=1).event_dim",
        "D.StickBreakingTransform().event_dim",
    ],
)
def test_constraints(program, agree):
    agree(f"D = torch.distributions\nC = D.constraints\n{program}")


@pytest.mark.parametrize(
    "components",
    [
        "Uniform(torch.tensor([0.0, 5.0]), torch.tensor([1.0, 6.0]))",
        "Gamma(torch.ones(2), 1.0)",
        "Normal(torch.zeros(2), 1.0)",
        "Binomial(torch.tensor([3.0, 5.0]), 0.5)",
    ],
)
@pytest.mark.parametrize(
    "value", ["torch.tensor([0.5, 0.25, 1.0])", "torch.tensor(-1.0)", "torch.tensor([[2.0], [3.0]])", "torch.tensor(0.0)"]
)
def test_values_of_mixtures_are_those_of_all_components(components, value, agree):
    agree(
        f"D = torch.distributions\nm = D.MixtureSameFamily(D.Categorical(torch.ones(2)), D.{components})\nm.support, m.log_prob({value})"
    )
