"""Reductions, scans and sorting: accuracy, ties, zeros, NaN, empty and 0-dim inputs."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch

NAN, INF = float("nan"), float("inf")


def gradient(function, x):
    x = x.clone().requires_grad_()
    function(x).sum().backward()
    return x.grad


@pytest.mark.parametrize("dim", [None, 0, 1, (0, 2), (1, 2)])
def test_float32_sums_are_as_accurate_as_pairwise_sums(dim):
    x = torch.rand(3000, 7, 11)
    for t in (x, x.transpose(0, 1), x[::2], x.permute(2, 0, 1)):
        exact = t.numpy().astype(np.float64).sum(dim)
        np.testing.assert_allclose(t.sum(dim).numpy(), exact, rtol=1e-6)
        n = t.numel() / np.size(exact)
        np.testing.assert_allclose(t.mean(dim).numpy(), exact / n, rtol=1e-6)


def test_variance_far_from_zero():
    x = torch.tensor([1e4, 1e4 + 1, 1e4 + 2])
    assert x.var().item() == 1.0 and x.std(correction=0).item() == pytest.approx((2 / 3) ** 0.5)


def test_ties():
    x = torch.tensor([[1.0, 3.0, 3.0], [3.0, 2.0, 1.0]])
    np.testing.assert_allclose(gradient(lambda t: t.max(), x).numpy(), np.array([[0, 1, 1], [1, 0, 0]]) / 3, rtol=1e-6)
    assert gradient(lambda t: t.amax(1), x).tolist() == [[0, 0.5, 0.5], [1, 0, 0]]
    assert gradient(lambda t: t.max(1).values, x).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert x.max(1).indices.tolist() == [1, 0] and x.argmax(1).tolist() == [1, 0] and x.argmax().item() == 1
    assert torch.tensor([2, 1, 2, 1]).cummax(0).indices.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize("values", [[2.0, 3.0, 4.0], [2.0, 0.0, 4.0], [0.0, 3.0, 0.0]])
def test_products_with_zeros(values):
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    expected = [np.prod(np.delete(values, i)) for i in range(3)]
    assert gradient(lambda t: t.prod(), x.detach()).tolist() == expected
    assert gradient(lambda t: t.prod(0), x.detach()).tolist() == expected
    for function in (lambda t: t.prod(), lambda t: t.reshape(1, 3).prod(1, keepdim=True), lambda t: t.cumprod(0)):
        assert torch.autograd.gradcheck(function, x) and torch.autograd.gradgradcheck(function, x)


def test_nan_counts_as_greatest():
    x = torch.tensor([1.0, NAN, 2.0])
    assert x.max().isnan() and x.min().isnan() and x.amax().isnan() and x.median().isnan()
    assert x.argmax().item() == x.argmin().item() == 1
    assert x.sort().indices.tolist() == [0, 2, 1] and x.sort(descending=True).indices.tolist() == [1, 2, 0]
    assert x.topk(2).indices.tolist() == [1, 2]
    assert x.nanmedian().item() == 1.0 and x.nansum().item() == 3.0 and x.nanmean().item() == 1.5
    assert x.quantile(0.5).isnan() and x.nanquantile(0.5).item() == 1.5


def test_empty_and_zero_dim():
    empty, scalar = torch.zeros(0, 3), torch.tensor(2.0)
    assert empty.sum().item() == 0 and empty.prod().item() == 1 and empty.mean().isnan() and not empty.any() and empty.all()
    assert empty.sum(0).tolist() == [0, 0, 0] and empty.max(1).values.shape == (0,)
    assert scalar.sum(0).item() == scalar.max(0).values.item() == scalar.sort().values.item() == scalar.cumsum(0).item() == 2
    for name in ("max", "min", "argmax", "amax", "median", "mode"):
        with pytest.raises(IndexError, match="Expected reduction dim 0 to have non-zero size"):
            getattr(empty, name)(dim=0)


def test_logsumexp_at_the_edges():
    assert torch.tensor([1000.0, 1000.0]).logsumexp(0).item() == pytest.approx(1000.6931, rel=1e-6)
    assert torch.tensor([-INF, -INF]).logsumexp(0).item() == -INF
    assert torch.tensor([INF, 1.0]).logsumexp(0).item() == INF
    assert gradient(lambda t: t.logsumexp(0), torch.tensor([-INF, 0.0])).tolist() == [0, 1]


def test_stable_order_and_large_topk():
    x = torch.randint(0, 5, (5000,))
    ascending, order = x.sort()
    assert (order.diff() > 0)[ascending.diff() == 0].all()
    descending, order = x.sort(descending=True)
    assert (order.diff() > 0)[descending.diff() == 0].all()
    y = torch.randn(2, 5000)
    for largest in (True, False):
        values, indices = y.topk(7, largest=largest)
        assert torch.equal(values, y.sort(descending=largest).values[:, :7])
        assert torch.equal(y.gather(1, indices), values)


def test_unique_in_all_forms():
    x = torch.tensor([[2, 1], [2, 1], [0, 3]])
    values, inverse, counts = x.unique(return_inverse=True, return_counts=True)
    assert values.tolist() == [0, 1, 2, 3] and counts.tolist() == [1, 2, 2, 1] and torch.equal(values[inverse], x)
    rows, inverse, counts = x.unique(dim=0, return_inverse=True, return_counts=True)
    assert rows.tolist() == [[0, 3], [2, 1]] and inverse.tolist() == [1, 1, 0] and counts.tolist() == [1, 2]
    runs, counts = torch.tensor([1, 1, 2, 1]).unique_consecutive(return_counts=True)
    assert runs.tolist() == [1, 2, 1] and counts.tolist() == [2, 1, 1]


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted_by_rows(right):
    sequences, values = torch.rand(4, 37).sort().values, torch.rand(4, 50)
    values[:, :37] = sequences  # equal elements too
    found = torch.searchsorted(sequences, values, right=right)
    for row in range(4):
        expected = np.searchsorted(sequences[row].numpy(), values[row].numpy(), "right" if right else "left")
        assert found[row].tolist() == expected.tolist()


def test_three_forms_of_max():
    x, y = torch.tensor([[1, 5], [7, 2]]), torch.tensor([[3, 3], [3, 3]])
    assert (
        x.max().item() == 7 and torch.max(x, y).tolist() == [[3, 5], [7, 3]] and torch.max(x, other=y).tolist() == [[3, 5], [7, 3]]
    )
    assert x.min(0).values.tolist() == [1, 2] and torch.min(input=x, dim=1, keepdim=True).indices.tolist() == [[0], [1]]
    assert repr(x.max(1)).startswith("torch.return_types.max(\nvalues=tensor([5, 7])")


def test_stft_there_and_back():
    signal = torch.randn(2, 100)
    window = torch.hann_window(16)
    spectra = torch.stft(signal, 16, hop_length=4, window=window, return_complex=True)
    assert spectra.shape == (2, 9, 26)
    back = torch.istft(spectra, 16, hop_length=4, window=window, length=100)
    np.testing.assert_allclose(back.numpy(), signal.numpy(), atol=2e-6)  # sums of 16 products of float32


@pytest.mark.parametrize("shape", [(7,), (1024,), (5000,), (300, 41), (3, 40, 50)])
def test_norms_of_many_elements(shape):
    x = torch.randn(*shape)
    exact = np.sqrt(np.square(x.numpy(), dtype=np.float64).sum())
    assert x.norm().item() == pytest.approx(exact, rel=1e-6)
    assert x.norm(keepdim=True).shape == (1,) * len(shape)
    np.testing.assert_allclose(x.norm(dim=-1).numpy(), np.sqrt((x.numpy() ** 2).sum(-1)), rtol=1e-6)
