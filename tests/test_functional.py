"""Layers' functions and losses: what they change in place, what gets no gradient, and errors that come late."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau.ops import convolution_kernels, normalization_kernels

F = torch.nn.functional


def normal(*shape, dtype=np.float64):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def test_running_statistics_are_updated_in_place_and_off_the_tape():
    x = torch.tensor(normal(6, 2)).requires_grad_()
    mean, var = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    address = mean.data_ptr()
    F.batch_norm(x, mean, var, training=True, momentum=0.25)
    assert mean.data_ptr() == address and not mean.requires_grad and not var.requires_grad
    np.testing.assert_allclose(mean.numpy(), 0.25 * normal(6, 2).mean(0), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * normal(6, 2).var(0, ddof=1), rtol=1e-12)
    before = mean.clone()
    F.batch_norm(x, mean, var)
    assert mean.equal(before)


@pytest.mark.parametrize("axes", [(0, 2), (1, 2), (2,)])
def test_normalisation_does_not_depend_on_blocks(axes, monkeypatch):
    x, g, form = normal(8, 4, 6), normal(8, 4, 6)[::-1], (8, 4, 6)
    affine = tuple(1 if i in (0, 2) else n for i, n in enumerate(form)) if 0 in axes else (1, 4, 6)
    weight, bias = normal(*affine), normal(*affine) + 1
    settings = {"form": form, "axes": axes, "affine": affine, "eps": 0.1}

    def run():
        out, mean, var = normalization_kernels.forward(x, weight, bias, **settings)
        return out, *normalization_kernels.backward(g, x, mean, var, weight, **settings, needs=(True,) * 3)

    whole = run()
    monkeypatch.setattr(normalization_kernels, "_BLOCK", 1)
    for a, b in zip(whole, run(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_convolution_does_not_depend_on_blocks(monkeypatch):
    x, w = torch.tensor(normal(3, 4, 9, 8)).requires_grad_(), torch.tensor(normal(6, 2, 3, 2)).requires_grad_()

    def run():
        out = F.conv2d(x, w, stride=(2, 1), padding=1, groups=2)
        grads = torch.autograd.grad(out.square().sum(), (x, w))
        return [t.detach().numpy() for t in (out, *grads)]

    whole = run()
    for block, places in ((1, 1), (2000, 1), (1, 50)):  # one place, some rows, or some samples at a time
        monkeypatch.setattr(convolution_kernels, "_BLOCK", block)
        monkeypatch.setattr(convolution_kernels, "_PLACES", places)
        for a, b in zip(whole, run(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_embedding_padding_and_frequency():
    weight = torch.ones(4, 2, requires_grad=True)
    indices = torch.tensor([1, 1, 3, 0])
    F.embedding(indices, weight, padding_idx=3).sum().backward()
    assert weight.grad.tolist() == [[1, 1], [2, 2], [0, 0], [0, 0]]
    weight.grad = None
    F.embedding(indices, weight, scale_grad_by_freq=True).sum().backward()
    assert weight.grad.tolist() == [[1, 1], [1, 1], [0, 0], [1, 1]]


def test_embedding_max_norm_writes_to_the_table():
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]], requires_grad=True)
    out = F.embedding(torch.tensor([0, 1, 0]), weight, max_norm=1.0)
    expected = np.array([[0.6, 0.8], [0.3, 0.4], [6.0, 8.0]])  # the last row was not looked up
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(out.detach().numpy(), expected[[0, 1, 0]], rtol=1e-6)
    assert weight.is_leaf


def test_bags():
    weight = torch.tensor(normal(5, 3))
    indices, offsets = torch.tensor([1, 2, 4, 4, 0]), torch.tensor([0, 3, 3])
    rows = normal(5, 3)[[1, 2, 4, 4, 0]]
    for mode, reduce in (("sum", np.sum), ("mean", np.mean), ("max", np.max)):
        out = F.embedding_bag(indices, weight, offsets, mode=mode).numpy()
        np.testing.assert_allclose(out, [reduce(rows[:3], 0), np.zeros(3), reduce(rows[3:], 0)], rtol=1e-12)
    assert F.embedding_bag(indices, weight, torch.tensor([0, 3, 5]), include_last_offset=True).shape == (2, 3)


def test_ignored_targets_may_have_infinite_scores():
    scores = torch.tensor([[0.0, float("-inf")], [1.0, 2.0]], requires_grad=True)
    loss = F.nll_loss(scores, torch.tensor([1, 0]), ignore_index=1)
    loss.backward()
    assert loss.item() == -1 and scores.grad.tolist() == [[0, 0], [-1, 0]]


def test_targets_of_bytes():
    target = torch.tensor([1, 0], dtype=torch.uint8)
    assert F.nll_loss(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), target).item() == -2.5


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: F.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]) + 2),
        lambda: F.embedding(torch.tensor([1]) + 4, torch.zeros(5, 2)),
    ],
)
def test_wrong_values_are_refused_by_the_call(wrong):
    with pytest.raises(IndexError):
        wrong()


def test_attention_to_nothing_is_zero():
    q, k, v = (torch.tensor(normal(2, 3), requires_grad=True) for _ in range(3))
    out = F.scaled_dot_product_attention(q, k, v, torch.tensor([[False, False], [True, True]]))
    assert out[0].tolist() == [0, 0, 0] and out[1].isfinite().all()


def test_attention_dropout():
    torch.manual_seed(0)
    q = torch.ones(1, 400, 4)
    out = F.scaled_dot_product_attention(q, q, torch.eye(400), dropout_p=0.25)
    assert 0.2 < (out == 0).float().mean().item() < 0.3


def test_convolution_without_channels():
    """An empty sum is 0."""
    out = F.conv1d(torch.zeros(1, 0, 3), torch.zeros(2, 0, 2), torch.tensor([1.0, 2.0]))
    assert out.tolist() == [[[1.0, 1.0], [2.0, 2.0]]]


_WARNING_CALLS = {
    "mse_loss": lambda: F.mse_loss(torch.zeros(2, 3), torch.zeros(2, 1)),
    "MSELoss": lambda: torch.nn.MSELoss()(torch.zeros(2, 3), torch.zeros(2, 1)),
    "l1_loss": lambda: F.l1_loss(torch.zeros(2), torch.zeros(2), size_average=True),
    "kl_div": lambda: F.kl_div(torch.zeros(2), torch.zeros(2)),
    "softmax": lambda: F.softmax(torch.zeros(2, 3)),
    "softmin": lambda: F.softmin(torch.zeros(2, 3)),
    "gumbel_softmax": lambda: F.gumbel_softmax(torch.zeros(2, 3), eps=1e-3),
    "upsample": lambda: F.upsample(torch.zeros(1, 1, 2, 2), scale_factor=2),
    "grid_sample": lambda: F.grid_sample(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 2)),
    "dropout2d": lambda: F.dropout2d(torch.zeros(2, 3)),
    "float": lambda: torch.zeros(2, dtype=torch.complex64).float(),
    "range": lambda: torch.range(0, 3),
}


@pytest.mark.parametrize("call", _WARNING_CALLS.values(), ids=_WARNING_CALLS)
def test_warnings_name_the_users_line(call):
    with pytest.warns() as seen:
        call()
    assert seen[0].filename == __file__ and seen[0].lineno == call.__code__.co_firstlineno


def in_place_names() -> list[str]:
    from flambeau.ops.record import registry

    return sorted(name for name in registry if name.startswith("nn.functional.") and name.endswith("_"))


@pytest.mark.parametrize("name", in_place_names())
def test_in_place_forms_write_into_their_argument(name):
    function = getattr(F, name.rpartition(".")[2])
    x = torch.tensor([-1.0, 0.5, 3.0])
    rest = (0.1, 0.2) if "threshold" in name else ()
    torch.manual_seed(0)
    expected = getattr(F, name.rpartition(".")[2][:-1])(x.clone(), *rest)
    torch.manual_seed(0)
    assert function(x, *rest) is x
    assert x.tolist() == expected.tolist()
