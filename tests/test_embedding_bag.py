"""Bags of embeddings: how their elements are counted, and by which way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau as torch
from flambeau.nn import functional as F


@pytest.mark.parametrize("padding_idx", [None, 1])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("known", [True, False])
def test_bags_of_any_length(mode, padding_idx, known):
    table = torch.randn(5, 3, requires_grad=True)
    numbers, starts = [4, 1, 0, 1, 2, 2, 3], [0, 2, 2, 5, 6]  # the second one is empty
    offsets = torch.tensor(starts) if known else (torch.tensor(starts) + 1) - 1
    got = F.embedding_bag(torch.tensor(numbers), table, offsets, mode=mode, padding_idx=padding_idx)
    rows = table.detach().numpy()
    for i, (begin, end) in enumerate(zip(starts, [*starts[1:], len(numbers)], strict=True)):
        bag = [n for n in numbers[begin:end] if n != padding_idx]
        expected = getattr(rows[bag], mode)(0) if bag else np.zeros(3)
        assert np.allclose(got[i].tolist(), expected, rtol=1e-6)
    got.sum().backward()
    if mode != "max":
        slopes = np.zeros(5)
        for begin, end in zip(starts, [*starts[1:], len(numbers)], strict=True):
            bag = [n for n in numbers[begin:end] if n != padding_idx]
            for n in bag:
                slopes[n] += 1 if mode == "sum" else 1 / len(bag)
        assert np.allclose(table.grad[:, 0].tolist(), slopes, rtol=1e-6)


def test_wrong_offsets():
    numbers, table = torch.tensor([0, 1]), torch.ones(2, 2)
    with pytest.raises(RuntimeError, match=r"offsets\[-1\] can not be greater"):
        F.embedding_bag(numbers, table, torch.tensor([0, 3]))
    assert F.embedding_bag(torch.tensor([], dtype=torch.int64), table, torch.tensor([0, 0])).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("bags, length, width, rows", [(1, 1, 1, 1), (3, 4, 5, 7), (16, 20, 33, 50), (2, 7, 3, 2)])
def test_bags_of_equal_length(mode, bags, length, width, rows):
    """They are computed as a whole; what offsets say bag by bag is the same, in the interpreter and in plans."""
    rng = np.random.default_rng(0)
    table, index = rng.standard_normal((rows, width)), rng.integers(0, rows, (bags, length))
    if mode == "max":  # equal rows share a gradient in one way, and the first of them has it in the other
        rows = bags * length
        table, index = rng.standard_normal((rows, width)), rng.permutation(rows).reshape(bags, length)
    offsets, weights = torch.arange(bags) * length, rng.standard_normal((bags, width))

    def program(whole: bool) -> tuple[np.ndarray, np.ndarray]:
        weight, i = torch.tensor(table, requires_grad=True), torch.tensor(index)
        made = F.embedding_bag(i, weight, mode=mode) if whole else F.embedding_bag(i.reshape(-1), weight, offsets, mode=mode)
        (made * torch.tensor(weights)).sum().backward()
        return made.detach().numpy(), weight.grad.numpy()

    expected = program(False)
    for _ in range(3):
        for a, b in zip(expected, program(True), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)


def test_bags_that_threads_divide_have_the_same_bits():
    table, numbers = torch.randn(2000, 128), torch.randint(0, 2000, (256, 20))
    before, sums = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for _ in range(3):
                sums.append((F.embedding_bag(numbers, table, mode="sum") + 0).numpy().tobytes())
    finally:
        torch.set_num_threads(before)
    assert len(set(sums[-7:])) == 1  # the first ones may be NumPy's
    rows = table.numpy()[numbers.numpy()]
    expected = rows[:, 0].copy()
    for k in range(1, rows.shape[1]):
        expected += rows[:, k]
    assert np.allclose(np.frombuffer(sums[-1], np.float32).reshape(256, 128), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("lengths", [[3, 3, 3, 3], [1, 1], [5], [2, 0, 3, 1], [0, 0, 4], [4, 0], [1, 200, 7]], ids=str)
def test_bags_of_any_lengths(lengths, mode):
    """Each bag is that of a call of its own, and so are the gradients; the first calls are NumPy's, later ones kernels'."""
    torch.manual_seed(0)
    weight = torch.randn(11, 6, requires_grad=True)
    indices = torch.randint(0, 11, (sum(lengths),))
    offsets = torch.tensor([sum(lengths[:i]) for i in range(len(lengths))])
    for _ in range(4):
        found = F.embedding_bag(indices, weight, offsets, mode=mode)
        (slope,) = torch.autograd.grad((found * found).sum(), weight)
        parts = [F.embedding(part, weight).sum(0) / (max(len(part), 1) if mode == "mean" else 1) for part in indices.split(lengths)]
        expected = torch.stack(parts)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(slope, torch.autograd.grad((expected * expected).sum(), weight)[0])
    with pytest.raises(RuntimeError):
        F.embedding_bag(indices.index_fill(0, torch.tensor([0]), 11), weight, offsets, mode=mode).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_kernels_add_rows(dtype, index, monkeypatch):
    """Of any width, any layout and any lengths, divided between threads or not: the sums that a loop makes."""
    pytest.importorskip("llvmlite")
    from flambeau.engine.cpu import bags

    monkeypatch.setattr(bags, "WORTH_DIVIDING", 32)
    rng, before = np.random.default_rng(0), torch.get_num_threads()
    tolerance = 20 * np.finfo(dtype).eps  # NumPy, which makes the first ones, adds a single column in another order
    try:
        for width, lengths in itertools.product((1, 5, 16, 64, 67, 200), ([3, 3, 3], [2, 0, 5, 1, 0], [0, 0, 7], [40], [1] * 9)):
            rows = rng.standard_normal((23, width)).astype(dtype)
            numbers = rng.integers(0, 23, sum(lengths)).astype(index)
            starts = np.cumsum([0, *lengths[:-1]]).astype(index)
            expected = np.zeros((len(lengths), width), dtype)
            for i, n in enumerate(np.repeat(np.arange(len(lengths)), lengths)):
                expected[n] += rows[numbers[i]]
            for threads in (1, 2):
                torch.set_num_threads(threads)
                for table in (torch.tensor(rows), torch.tensor(rows.T.copy()).T, torch.tensor(np.repeat(rows, 2, 0))[::2]):
                    for _ in range(4):
                        made = F.embedding_bag(torch.tensor(numbers), table, torch.tensor(starts), mode="sum")
                        np.testing.assert_allclose((made + 0).numpy(), expected, rtol=tolerance, atol=tolerance)
            for wrong in (23, -1):
                spoiled = numbers.copy()
                spoiled[-1] = wrong
                with pytest.raises(RuntimeError, match="but found idx to be"):
                    F.embedding_bag(torch.tensor(spoiled) + 0, table, torch.tensor(starts), mode="sum").tolist()
    finally:
        torch.set_num_threads(before)
