"""Decompositions and least squares beside PyTorch: shapes, batches and dtypes; values that do not depend on signs."""

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

DTYPES = ("float32", "float64", "complex64", "complex128")
SHAPES = [(1, 1), (3, 5), (40, 7), (2, 6, 3), (2, 1, 3, 3), (0, 3, 2), (3, 0)]


def numbers(shape, dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else x).astype(dtype)


def both(array):
    return torch.tensor(array), flambeau.tensor(array)


def agree(ours, theirs, dtype: str, scale: float = 1.0) -> None:
    tolerance = scale * (1e-4 if dtype in ("float32", "complex64") else 1e-11)
    assert tuple(ours.shape) == tuple(theirs.shape) and str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_and_what_they_are_made_from(shape, dtype):
    theirs, ours = both(numbers(shape, dtype))
    agree(flambeau.linalg.svdvals(ours), torch.linalg.svdvals(theirs), dtype)
    for full in (False, True):
        U, S, Vh = flambeau.linalg.svd(ours, full_matrices=full)
        expected = torch.linalg.svd(theirs, full_matrices=full)
        agree(S, expected.S, dtype)
        assert [tuple(x.shape) for x in (U, Vh)] == [tuple(expected.U.shape), tuple(expected.Vh.shape)]
        k = min(shape[-2:])
        agree((U[..., :k] * S.unsqueeze(-2)) @ Vh[..., :k, :], theirs, dtype)
        identity = U.mH @ U
        agree(identity, torch.eye(identity.shape[-1], dtype=theirs.dtype).expand(*shape[:-2], -1, -1), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [s for s in SHAPES if s[-1] == s[-2]])
def test_symmetric_eigenvalues(shape, dtype):
    array = numbers(shape, dtype)
    theirs, ours = both(array + array.conj().swapaxes(-2, -1))
    for lower in "LU":
        values, vectors = flambeau.linalg.eigh(ours, lower)
        agree(values, torch.linalg.eigh(theirs, lower)[0], dtype)
        agree(flambeau.linalg.eigvalsh(ours, lower), torch.linalg.eigvalsh(theirs, lower), dtype)
        agree((vectors * values.unsqueeze(-2)) @ vectors.mH, theirs, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_qr_has_pytorchs_signs(shape, dtype):
    theirs, ours = both(numbers(shape, dtype))
    for mode in ("reduced", "complete", "r"):
        for a, b in zip(flambeau.linalg.qr(ours, mode), torch.linalg.qr(theirs, mode), strict=True):
            agree(a, b, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("driver", ["gels", "gelsy", "gelsd", "gelss"])
@pytest.mark.parametrize("shape", SHAPES)
def test_least_squares(shape, driver, dtype):
    theirs, ours = both(numbers(shape, dtype))
    other, mine = both(numbers((*shape[:-1], 2), dtype, 1))
    expected, found = torch.linalg.lstsq(theirs, other, driver=driver), flambeau.linalg.lstsq(ours, mine, driver=driver)
    for name, a, b in zip(expected._fields if hasattr(expected, "_fields") else "XRrS", found, expected, strict=True):
        if name == "R" and not min(shape):
            continue  # PyTorch has no residuals of systems without equations
        agree(a, b, dtype, 10)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 4)])
@pytest.mark.parametrize("columns", [1, 2])
def test_gradients_of_least_squares(shape, columns, dtype):
    arrays = numbers(shape, dtype), numbers((*shape[:-1], columns), dtype, 1)
    grads = []
    for library in (torch, flambeau):
        a, b = (library.tensor(x, requires_grad=True) for x in arrays)
        library.linalg.lstsq(a, b).solution.abs().sum().backward()
        grads.append((a.grad, b.grad))
    for theirs, ours in zip(*grads, strict=True):
        agree(ours, theirs, dtype, 10)


@pytest.mark.parametrize("driver", ["gelsy", "gelsd", "gelss"])
def test_rank_and_least_norm_of_deficient_systems(driver):
    rng = np.random.default_rng(2)
    for rank, m, n in [(1, 4, 3), (2, 3, 5), (0, 3, 3), (3, 6, 4)]:
        array = (rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))).astype(np.float64)
        (theirs, ours), (other, mine) = both(array), both(rng.standard_normal((m, 2)))
        # What is left out of a matrix that is nearly full is the driver's choice of columns: only singular values say it for all.
        for rcond in (None, 1e-6) if driver == "gelsy" else (None, 1e-6, 0.9):
            expected = torch.linalg.lstsq(theirs, other, rcond, driver=driver)
            found = flambeau.linalg.lstsq(ours, mine, rcond, driver=driver)
            assert found.rank.item() == expected.rank.item()
            agree(found.solution, expected.solution, "float64", 1e4)


def test_full_rank_is_asked_for_where_the_driver_takes_it_to_be_full():
    for library in (torch, flambeau):
        with pytest.raises(RuntimeError, match=r"input matrix does not have full rank \(error code: 2\)"):
            library.linalg.lstsq(
                library.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), library.ones(3, 1), driver="gels"
            ).solution.tolist()


def test_least_squares_of_samples():
    theirs, ours = both(numbers((4, 5, 3), "float64"))
    other, mine = both(numbers((5, 2), "float64"))
    expected = torch.stack([torch.linalg.lstsq(a, other).solution for a in theirs])
    agree(flambeau.vmap(lambda a: flambeau.linalg.lstsq(a, mine).solution)(ours), expected, "float64")
