"""Random functions and methods of tensors against PyTorch: values, strides, dtypes and what is left of the stream."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

CALLS = {
    "rand": lambda t: t.rand(2, 3),
    "rand_size": lambda t: t.rand((40,), dtype=t.float64),
    "rand_complex": lambda t: t.rand(3, dtype=t.complex64),
    "rand_bfloat16": lambda t: t.rand(30, dtype=t.bfloat16),
    "rand_out": lambda t: t.rand(2, 3, out=t.empty(2, 3)),
    "randn": lambda t: t.randn(5, 5),
    "randn_scalar": lambda t: t.randn(()),
    "randn_generator": lambda t: t.randn(3, generator=t.Generator().manual_seed(4)),
    "randint": lambda t: t.randint(10, (4,)),
    "randint_low": lambda t: t.randint(-5, 10, (4, 2)),
    "randint_keywords": lambda t: t.randint(low=2, high=5, size=(6,)),
    "randint_high": lambda t: t.randint(2, high=5, size=(6,)),
    "randint_float": lambda t: t.randint(3, (6,), dtype=t.float32),
    "randperm": lambda t: t.randperm(17),
    "randperm_int32": lambda t: t.randperm(7, dtype=t.int32),
    "normal_size": lambda t: t.normal(2.0, 3.0, (4,)),
    "normal_size_keyword": lambda t: t.normal(2, 3, size=(20,)),
    "normal_mean": lambda t: t.normal(t.arange(20.0), 0.5),
    "normal_only_mean": lambda t: t.normal(mean=t.arange(20.0)),
    "normal_std": lambda t: t.normal(1.0, t.arange(20.0)),
    "normal_both": lambda t: t.normal(t.arange(4.0), t.ones(3, 4)),
    "normal_transposed": lambda t: t.normal(t.ones(4, 5).t(), 1.0),
    "rand_like": lambda t: t.rand_like(t.ones(3, 4)),
    "rand_like_transposed": lambda t: t.rand_like(t.ones(3, 4).t()),
    "randn_like": lambda t: t.randn_like(t.ones(4, 5)),
    "randn_like_transposed": lambda t: t.randn_like(t.ones(4, 5).t()),
    "randn_like_dtype": lambda t: t.randn_like(t.ones(4, 5, dtype=t.int64), dtype=t.float64),
    "randint_like": lambda t: t.randint_like(t.ones(4, 5), 10),
    "randint_like_low": lambda t: t.randint_like(t.ones(4, 5), 5, 10),
    "bernoulli": lambda t: t.bernoulli(t.full((3, 4), 0.3)),
    "bernoulli_transposed": lambda t: t.bernoulli(t.full((3, 4), 0.3).t()),
    "bernoulli_p": lambda t: t.bernoulli(t.zeros(3, 4), 0.3),
    "bernoulli_method": lambda t: t.full((9,), 0.5, dtype=t.float64).bernoulli(),
    "multinomial": lambda t: t.multinomial(t.tensor([[1.0, 2, 3], [4, 0, 1]]), 2),
    "multinomial_replacement": lambda t: t.tensor([1.0, 2, 3]).multinomial(12, replacement=True),
    "multinomial_transposed": lambda t: t.arange(1.0, 7).reshape(2, 3).t().multinomial(1),
    "poisson": lambda t: t.poisson(t.tensor([[0.5, 4.0], [40.0, 0.0]])),
    "poisson_transposed": lambda t: t.poisson(t.tensor([[0.5, 4.0, 3.0], [40.0, 0.0, 9.0]]).t()),
    "binomial": lambda t: t.binomial(t.tensor([5.0, 50]), t.tensor([0.5, 0.3])),
    "uniform_": lambda t: t.empty(3, 4).uniform_(-1, 2),
    "uniform_to": lambda t: t.empty(3, 4).uniform_(to=3),
    "uniform_transposed": lambda t: t.empty(3, 4).t().uniform_(),
    "uniform_part": lambda t: _part(t, lambda x: x.uniform_()),
    "normal_": lambda t: t.empty(20).normal_(1, 2),
    "normal_inplace_transposed": lambda t: t.empty(4, 5).t().normal_(),
    "normal_part": lambda t: _part(t, lambda x: x.normal_(0, 0.5)),
    "random_": lambda t: t.empty(5, dtype=t.int32).random_(),
    "random_to": lambda t: t.empty(5).random_(7),
    "random_from_to": lambda t: t.empty(5, dtype=t.int64).random_(-3, 7),
    "random_keyword": lambda t: t.empty(5, dtype=t.int64).random_(3, to=7),
    "bernoulli_": lambda t: t.empty(3, 5).bernoulli_(),
    "bernoulli_bool": lambda t: t.empty(3, 5, dtype=t.bool).bernoulli_(p=0.3),
    "bernoulli_tensor": lambda t: t.empty(3, 5).bernoulli_(t.linspace(0, 1, 5)),
    "bernoulli_tensor_transposed": lambda t: t.empty(5, 3).t().bernoulli_(t.linspace(0, 1, 5)),
    "exponential_": lambda t: t.empty(4).exponential_(lambd=2.0),
    "geometric_": lambda t: t.empty(4).geometric_(0.3),
    "cauchy_": lambda t: t.empty(4).cauchy_(1, 2),
    "log_normal_": lambda t: t.empty(4).log_normal_(),
    "dropout": lambda t: t.nn.functional.dropout(t.ones(4, 5), 0.3),
    "dropout_double": lambda t: t.nn.functional.dropout(t.ones(4, 5, dtype=t.float64), 0.3),
    "dropout_half": lambda t: t.nn.functional.dropout(t.ones(4, 5, dtype=t.float16), 0.3),
    "dropout_transposed": lambda t: t.nn.functional.dropout(t.ones(4, 5).t(), 0.3),
    "dropout_eval": lambda t: t.nn.functional.dropout(t.ones(4, 5), 0.3, training=False),
    "dropout_all": lambda t: t.nn.functional.dropout(t.ones(4, 5), 1.0),
    "dropout_none": lambda t: t.nn.functional.dropout(t.ones(4, 5), 0.0),
    "dropout_inplace": lambda t: _inplace(t.ones(4, 5), lambda x: t.nn.functional.dropout(x, 0.5, inplace=True)),
    "dropout1d": lambda t: t.nn.functional.dropout1d(t.ones(2, 6, 3)),
    "dropout1d_unbatched": lambda t: t.nn.functional.dropout1d(t.ones(6, 3)),
    "dropout1d_inplace": lambda t: _inplace(t.ones(6, 3), lambda x: t.nn.functional.dropout1d(x, inplace=True)),
    "dropout2d": lambda t: t.nn.functional.dropout2d(t.ones(2, 6, 3, 2)),
    "dropout2d_3d": lambda t: t.nn.functional.dropout2d(t.ones(2, 6, 3)),
    "dropout3d": lambda t: t.nn.functional.dropout3d(t.ones(2, 6, 3, 2, 1)),
    "dropout3d_unbatched": lambda t: t.nn.functional.dropout3d(t.ones(6, 3, 2, 1)),
    "alpha_dropout": lambda t: t.nn.functional.alpha_dropout(t.arange(12.0), 0.4, training=True),
    "alpha_dropout_inplace": lambda t: _inplace(t.arange(12.0), lambda x: t.nn.functional.alpha_dropout(x, 0.4, True, True)),
    "feature_alpha_dropout": lambda t: t.nn.functional.feature_alpha_dropout(t.ones(2, 6, 3), 0.4, training=True),
    "torch_dropout": lambda t: t.dropout(t.ones(9), 0.4, True),
    "torch_feature_dropout": lambda t: t.feature_dropout(t.ones(2, 9, 3), 0.4, True),
    "torch_alpha_dropout": lambda t: t.alpha_dropout(t.ones(9), 0.4, True),
}


def _part(t, fill):
    """The columns of a matrix that ``fill`` has been given every other of."""
    x = t.zeros(5, 8)
    fill(x[:, ::2])
    return x


def _inplace(x, fill):
    assert fill(x) is x
    return x


@pytest.mark.parametrize("name", CALLS)
def test_values(name):
    flambeau.manual_seed(11)
    torch.manual_seed(11)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got, expected = CALLS[name](flambeau), CALLS[name](torch)
    assert tuple(got.shape) == tuple(expected.shape) and got.stride() == expected.stride()
    assert str(got.dtype) == str(expected.dtype)
    if expected.dtype is torch.bfloat16:
        got, expected = got.float(), expected.float()
    # 2 ulps: alpha dropout scales and shifts in float32
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=3e-7 if "alpha" in name else 1e-15, atol=0)
    assert flambeau.rand(1).item() == torch.rand(1).item(), "the streams are no longer in step"


ERRORS = {
    "rand_integers": lambda t: t.rand(3, dtype=t.int64),
    "rand_generator": lambda t: t.rand(2, generator=5),
    "randint_float": lambda t: t.randint(3.5, (2,)),
    "randint_size": lambda t: t.randint(3, 2),
    "randint_alone": lambda t: t.randint(5),
    "randint_empty": lambda t: t.randint(5, 5, (2,)),
    "randperm_float": lambda t: t.randperm(2.5),
    "normal_numbers": lambda t: t.normal(2.0, 3.0),
    "normal_negative": lambda t: t.normal(t.zeros(2), -1.0),
    "normal_size": lambda t: t.normal(t.zeros(2), 1.0, (2,)),
    "bernoulli_integers": lambda t: t.bernoulli(t.ones(2, dtype=t.int64)),
    "multinomial": lambda t: t.multinomial(t.ones(2), 3),
    "uniform_expanded": lambda t: t.ones(2).expand(3, 2).uniform_(),
    "uniform_leaf": lambda t: t.ones(2, requires_grad=True).uniform_(),
    "dropout_p": lambda t: t.nn.functional.dropout(t.ones(2), 1.5),
    "torch_dropout_p": lambda t: t.dropout(t.ones(2), 1.5, True),
    "dropout_integers": lambda t: t.nn.functional.dropout(t.ones(2, dtype=t.int64)),
    "dropout1d": lambda t: t.nn.functional.dropout1d(t.ones(2)),
    "feature_dropout": lambda t: t.feature_dropout(t.ones(2), 0.5, True),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    with pytest.raises(Exception) as theirs:
        ERRORS[name](torch)
    with pytest.raises(type(theirs.value)) as mine:
        ERRORS[name](flambeau)
    start = str(theirs.value).partition("\n")[0].partition(" - got")[0].partition(" for ")[0]
    assert str(mine.value).startswith(start.removesuffix("."))


def test_states_are_exchanged():
    torch.manual_seed(5)
    torch.randn(3)
    flambeau.set_rng_state(flambeau.from_numpy(torch.get_rng_state().numpy()))
    np.testing.assert_array_equal(flambeau.randn(4).numpy(), torch.randn(4).numpy())
    flambeau.rand(100)
    torch.set_rng_state(torch.from_numpy(flambeau.get_rng_state().numpy()))
    np.testing.assert_array_equal(flambeau.rand(4).numpy(), torch.rand(4).numpy())
