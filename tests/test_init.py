"""nn.init: ranges, moments, structure, messages."""

from __future__ import annotations

import math

import pytest

import flambeau as torch
from flambeau.nn import init


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_every_function_fills_in_place_and_returns_the_tensor():
    for name in init.__all__:
        if name == "calculate_gain":
            continue
        tensor = torch.full((4, 4, 3) if name == "dirac_" else (4, 4), math.nan)
        args = {"constant_": (2.0,), "sparse_": (0.5,)}.get(name, ())
        assert getattr(init, name)(tensor, *args) is tensor
        assert not tensor.isnan().any(), name


def test_nothing_is_recorded_for_gradients():
    weight = torch.nn.Parameter(torch.empty(3, 3))
    init.kaiming_uniform_(weight)
    assert weight.is_leaf
    assert weight.requires_grad


def test_fans():
    assert init._calculate_fan_in_and_fan_out(torch.empty(5, 3)) == (3, 5)
    assert init._calculate_fan_in_and_fan_out(torch.empty(5, 3, 2, 4)) == (24, 40)


@pytest.mark.parametrize(
    ("function", "bound"),
    [
        (lambda t: init.xavier_uniform_(t, gain=2), 2 * math.sqrt(6 / 300)),
        (lambda t: init.kaiming_uniform_(t), math.sqrt(2) * math.sqrt(3 / 100)),
        (lambda t: init.kaiming_uniform_(t, mode="fan_out", nonlinearity="linear"), math.sqrt(3 / 200)),
        (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), 1 / math.sqrt(100)),
    ],
)
def test_uniform_bounds(function, bound):
    values = function(torch.empty(200, 100))
    assert values.abs().max().item() <= bound
    assert values.abs().max().item() > 0.99 * bound
    # the standard deviation of U(-b, b) is b / sqrt(3)
    assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize(
    ("function", "std"),
    [
        (lambda t: init.normal_(t, 0, 3), 3),
        (lambda t: init.xavier_normal_(t), math.sqrt(2 / 300)),
        (lambda t: init.kaiming_normal_(t, nonlinearity="relu"), math.sqrt(2 / 100)),
    ],
)
def test_normal_deviations(function, std):
    values = function(torch.empty(200, 100))
    assert values.std().item() == pytest.approx(std, rel=0.02)
    assert abs(values.mean().item()) < 0.03 * std


@pytest.mark.parametrize(("a", "b"), [(-2, 2), (0, 0.5), (1, 3), (-0.1, 0.1)])
def test_truncated_normal(a, b):
    values = init.trunc_normal_(torch.empty(5000), 0.0, 1.0, a, b)
    assert a <= values.min().item() <= values.max().item() <= b
    density = [math.exp(-0.5 * (a + (b - a) * i / 2000) ** 2) for i in range(2001)]
    mean = sum(d * (a + (b - a) * i / 2000) for i, d in enumerate(density)) / sum(density)
    assert values.mean().item() == pytest.approx(mean, abs=0.05 * (b - a))


def test_truncated_normal_far_from_its_mean_warns():
    with pytest.warns(UserWarning, match="mean is more than 2 std"):
        init.trunc_normal_(torch.empty(3), 0.0, 0.1, 1.0, 1.2)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 2, 2), (3, 3)])
def test_orthogonal(shape):
    weight = init.orthogonal_(torch.empty(shape, dtype=torch.float64), gain=2)
    matrix = weight.reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    assert torch.allclose(product, 4 * torch.eye(len(product), dtype=torch.float64))


def test_eye_and_dirac():
    assert init.eye_(torch.empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    weight = init.dirac_(torch.empty(4, 2, 3), groups=2)
    assert weight.sum().item() == 4
    assert [weight[i, i % 2, 1].item() for i in range(4)] == [1, 1, 1, 1]


def test_sparse():
    weight = init.sparse_(torch.empty(10, 4), sparsity=0.25)
    assert (weight == 0).sum(0).tolist() == [3, 3, 3, 3]


def test_gains():
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    with pytest.raises(ValueError, match="Unsupported nonlinearity swish"):
        init.calculate_gain("swish")
    with pytest.raises(ValueError, match="not a valid number"):
        init.calculate_gain("leaky_relu", "x")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: init.xavier_uniform_(torch.empty(3)), "fewer than 2 dimensions"),
        (lambda: init.kaiming_normal_(torch.empty(3, 3), mode="fan"), "Mode fan not supported"),
        (lambda: init.eye_(torch.empty(3)), "Only tensors with 2 dimensions"),
        (lambda: init.sparse_(torch.empty(3), 0.1), "Only tensors with 2 dimensions"),
        (lambda: init.dirac_(torch.empty(3)), "Only tensors with 3, 4, or 5 dimensions"),
        (lambda: init.dirac_(torch.empty(3, 1, 1), 2), "must be divisible by groups"),
        (lambda: init.orthogonal_(torch.empty(3)), "Only tensors with 2 or more dimensions"),
    ],
)
def test_messages(function, message):
    with pytest.raises(ValueError, match=message):
        function()


def test_old_names_warn():
    with pytest.warns(FutureWarning, match="`nn.init.uniform` is now deprecated in favor of `nn.init.uniform_`"):
        init.uniform(torch.empty(2))


def test_empty_tensors_are_left_alone():
    with pytest.warns(UserWarning, match="zero-element tensors is a no-op"):
        init.kaiming_uniform_(torch.empty(0, 3))


def test_a_generator_can_be_given():
    a = init.normal_(torch.empty(20), generator=torch.Generator().manual_seed(3))
    b = init.normal_(torch.empty(20), generator=torch.Generator().manual_seed(3))
    assert torch.equal(a, b)


def test_truncated_values_of_tensors_without_data():
    """Nothing is drawn, and nothing is looked at."""
    torch.manual_seed(0)
    w = torch.empty(3, 4, device="meta")
    assert torch.nn.init.trunc_normal_(w) is w
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
