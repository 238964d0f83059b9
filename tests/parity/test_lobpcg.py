"""``lobpcg``: values, vectors up to their sign, gradients and errors are PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

RNG = np.random.default_rng(0)


def matrix(m: int, *batch: int) -> np.ndarray:
    q, _ = np.linalg.qr(RNG.normal(size=(*batch, m, m)))
    return (q * np.arange(1, m + 1)) @ np.swapaxes(q, -1, -2)


def start(m: int, n: int, *batch: int) -> np.ndarray:
    return RNG.normal(size=(*batch, m, n))


def aligned(vectors: np.ndarray) -> np.ndarray:
    """With the largest part of each vector positive."""
    place = np.abs(vectors).argmax(-2, keepdims=True)
    return vectors * np.sign(np.take_along_axis(vectors, place, -2))


def check(arguments: dict, rtol: float = 1e-6) -> None:
    def pairs(lib):
        values, vectors = lib.lobpcg(**{k: lib.tensor(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()})
        return values.numpy(), aligned(vectors.numpy())

    for ours, theirs in zip(pairs(flambeau), pairs(torch), strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("method", ["ortho", "basic", None])
@pytest.mark.parametrize("largest", [True, False])
def test_pairs(method, largest):
    check({"A": matrix(12), "X": start(12, 3), "largest": largest, "method": method, "tol": 1e-9})


def test_generalized_preconditioned_batched():
    A, B = matrix(12), matrix(12) + np.eye(12) * 5
    check({"A": A, "B": B, "X": start(12, 2), "tol": 1e-9})
    check({"A": A, "X": start(12, 2), "iK": np.linalg.inv(A), "largest": False, "tol": 1e-9})
    check({"A": matrix(9, 2, 2), "X": start(9, 2, 2, 2), "tol": 1e-9})
    check({"A": A, "X": start(12, 4), "k": 2, "tol": 1e-9})
    check({"A": A.astype(np.float32), "X": start(12, 2).astype(np.float32), "tol": 1e-6}, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_sparse():
    def values(lib):
        A = lib.diag(lib.arange(1.0, 31.0, dtype=lib.float64)).to_sparse()
        return lib.lobpcg(A, X=lib.tensor(X), tol=1e-8)[0].numpy()

    X = start(30, 3)
    np.testing.assert_allclose(values(flambeau), values(torch), rtol=1e-8)


def test_gradients():
    A, X = matrix(9), start(9, 2)

    def gradient(lib, of_vectors: bool):
        a = lib.tensor(A, requires_grad=True)
        values, vectors = lib.lobpcg(a, X=lib.tensor(X), tol=1e-10)
        loss = values[0] * 2 + values[1] ** 2
        if of_vectors:
            loss = loss + (vectors**4).sum()
        loss.backward()
        return a.grad.numpy()

    for of_vectors in (False, True):
        np.testing.assert_allclose(gradient(flambeau, of_vectors), gradient(torch, of_vectors), rtol=1e-4, atol=1e-6)


def test_random_starts_and_trackers():
    A = matrix(10)
    for lib in (flambeau, torch):
        seen = []
        lib.manual_seed(0)
        values, _ = lib.lobpcg(
            lib.tensor(A),
            k=2,
            tol=1e-8,
            tracker=lambda worker, seen=seen: seen.append((worker.ivars["istep"], tuple(worker.X.shape))),
        )
        np.testing.assert_allclose(values.numpy(), [10, 9], rtol=1e-6)
        assert seen[-1][0] >= 1 and seen[-1][1] == (10, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"A": np.eye(5), "k": 2},
        {"A": np.ones((3, 4))},
        {"A": np.eye(9), "B": np.eye(8)},
        {"A": np.eye(9), "k": 2, "X": np.ones((8, 2))},
    ],
)
def test_errors(arguments):
    kinds = []
    for lib in (flambeau, torch):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            lib.lobpcg(**{k: lib.tensor(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()})
        kinds.append(caught.type)
    assert kinds[0] is kinds[1]
