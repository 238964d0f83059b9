"""``pdist`` beside PyTorch: exponents, sizes, layouts, gradients; compiled as at once, divided or not."""

import numpy as np
import pytest

import flambeau
from tests.fuzz.modes import threads

torch = pytest.importorskip("torch")

POWERS = (0, 1, 1.5, 2, 3, float("inf"))
SHAPES = [(2, 1), (3, 5), (1, 4), (0, 3), (3, 0), (20, 3), (70, 17), (131, 2)]


def rows(shape, dtype: str, special: bool = False) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    x = rng.standard_normal(shape).astype(dtype)
    if len(x) > 2:
        x[2] = x[0]  # a distance of zero
    if special and x.size:
        x.flat[rng.integers(x.size, size=2)] = np.nan, np.inf
    return x


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_distances_and_gradients(shape, dtype, power):
    array = rows(shape, dtype)
    found = []
    for library in (torch, flambeau):
        x = library.tensor(array, requires_grad=True)
        distances = library.pdist(x, power)
        if library is torch and not array.size:  # its gradient of no rows ends the process
            found.append((distances.detach().numpy(), np.zeros_like(array)))
            continue
        weights = library.tensor(np.random.default_rng(1).standard_normal(distances.shape).astype(dtype))
        (distances * weights).sum().backward()
        found.append((distances.detach().numpy(), x.grad.numpy()))
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [0, 1, 2, float("inf")])
def test_kernels_have_the_bits_of_numpy(power, dtype, count, monkeypatch):
    from flambeau.engine.cpu import pairs

    monkeypatch.setattr(pairs, "WORTH_DIVIDING", 8)
    with threads(count), flambeau.no_grad():
        for shape in SHAPES:
            for special in (False, True):
                array = rows(shape, dtype, special)
                for x in (
                    flambeau.tensor(array),
                    flambeau.tensor(array.T.copy()).T,
                    flambeau.tensor(array).expand(*shape)[..., :1],
                ):
                    expected = flambeau.pdist(x, power).numpy()  # alone, and as it is first met
                    for _ in range(4):
                        made = flambeau.pdist(x * 1, power) * 1
                        np.testing.assert_array_equal(made.numpy(), expected)
        before = flambeau.engine_stats()["nodes_numpy"]
        (flambeau.pdist(x * 1, power) * 1).tolist()
        assert flambeau.engine_stats()["nodes_numpy"] == before


def test_distances_of_samples():
    array = np.random.default_rng(0).standard_normal((3, 6, 4))
    expected = torch.stack([torch.pdist(x) for x in torch.tensor(array)]).numpy()
    np.testing.assert_allclose(flambeau.vmap(flambeau.pdist)(flambeau.tensor(array)).numpy(), expected, rtol=1e-12)
    (hessian,) = [flambeau.func.hessian(lambda x: flambeau.pdist(x).sum())(flambeau.tensor(array[0]))]
    assert (
        flambeau.autograd.gradgradcheck(flambeau.pdist, flambeau.tensor(array[0], requires_grad=True)) and hessian.isfinite().all()
    )
