"""Orders by ranks are NumPy's stable ones, whatever the dtype, NaN, zeros of both signs, ties and numbers too far apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.ops import ranking, sorting

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint64", "float32", "float64")


def array(rng, dtype: str, shape: tuple, kind: str) -> np.ndarray:
    if dtype.startswith("float"):
        x = rng.standard_normal(shape) if kind == "spread" else rng.integers(-2, 3, shape) * 1.0
        x = np.where(rng.random(shape) < 0.2, rng.choice([np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0], shape), x)
        return x.astype(dtype)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    low, high = (info.min, info.max) if kind == "spread" else (max(info.min, -2), 3)
    return rng.integers(low, high, shape, dtype, endpoint=True)


shapes = st.lists(st.integers(1, 12), min_size=1, max_size=3)


@pytest.fixture(autouse=True)
def always(monkeypatch):
    monkeypatch.setattr(ranking, "FEW", 0)
    monkeypatch.setattr(sorting, "FEW", 0)
    monkeypatch.setattr(sorting, "_MANY", 8)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=30, deadline=None)
@given(shape=shapes, kind=st.sampled_from(["spread", "close"]), seed=st.integers(0, 9), data=st.data())
def test_orders(dtype, shape, kind, seed, data):
    dim = data.draw(st.integers(0, len(shape) - 1))
    x = array(np.random.default_rng(seed), dtype, tuple(shape), kind)
    order = np.argsort(x, axis=dim, kind="stable")
    np.testing.assert_array_equal(ranking.stable_order(x, dim), order)
    values = np.take_along_axis(x, order, dim)
    np.testing.assert_array_equal(ranking.picked(x, order, dim), values)
    n = shape[dim]
    back = n - 1 - np.flip(np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)
    np.testing.assert_array_equal(ranking.stable_order(x, dim, descending=True), back)
    at = np.random.default_rng(seed).integers(0, n, [1 if d == dim else m for d, m in enumerate(shape)])
    np.testing.assert_array_equal(ranking.places_at(x, at, dim), np.take_along_axis(order, at, dim))


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "uint64"])
@settings(max_examples=30, deadline=None)
@given(shape=shapes, kind=st.sampled_from(["spread", "close"]), largest=st.booleans(), seed=st.integers(0, 9), data=st.data())
def test_greatest(dtype, shape, kind, largest, seed, data):
    """The values are the first of all in order, wherever ties let the places be."""
    dim = data.draw(st.integers(0, len(shape) - 1))
    k = data.draw(st.integers(1, shape[dim]))
    x = array(np.random.default_rng(seed), dtype, tuple(shape), kind)
    values, places = sorting._topk_kernel(x, k, dim, largest, True)
    order = ranking.stable_order(x, dim, largest)
    np.testing.assert_array_equal(values, np.take(np.take_along_axis(x, order, dim), range(k), dim))
    np.testing.assert_array_equal(values, np.take_along_axis(x, places, dim))
    assert all(len(set(line)) == k for line in np.moveaxis(places, dim, -1).reshape(-1, k).tolist())


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(20, 200), (3, 5, 120), (1, 20000), (20000,), (1500, 2)], ids=str)
@pytest.mark.parametrize("kind", ["distinct", "ties", "nan", "infinite", "one value"])
def test_few_of_many(shape, dtype, largest, kind):
    """What is found by its value alone is what sorting finds."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype)
    places = rng.integers(0, x.size, 5)
    if kind == "ties":
        x = np.round(x * 20)
    elif kind == "one value":
        x[...] = 3
    elif kind != "distinct":
        x.reshape(-1)[places] = np.nan if kind == "nan" else np.inf
    dim = int(np.argmax(shape))
    for k in (1, 7):
        values, found = sorting._topk_kernel(x, k, dim, largest, True)
        order = ranking.stable_order(x, dim, largest)
        np.testing.assert_array_equal(values, np.take(np.take_along_axis(x, order, dim), range(k), dim))
        np.testing.assert_array_equal(values, np.take_along_axis(x, found, dim))
        assert all(len(set(line)) == k for line in np.moveaxis(found, dim, -1).reshape(-1, k).tolist())


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("equal", ["all", "as many as are looked for"])
@pytest.mark.parametrize("shape", [(2000,), (3, 500), (20001,), (70001,)], ids=str)
def test_nan_beside_ties(shape, equal, largest):
    """NaN is the greatest, also where as many others as are asked for are equal."""
    for k in (1, 7):
        x = np.full(shape, 3.0, np.float32)
        if equal != "all":
            x[..., 10 : 11 + k] = 5 if largest else 1
        x[..., -1] = np.nan
        values, found = sorting._topk_kernel(x, k, x.ndim - 1, largest, True)
        order = ranking.stable_order(x, x.ndim - 1, largest)
        np.testing.assert_array_equal(values, np.take_along_axis(x, order, -1)[..., :k])
        np.testing.assert_array_equal(values, np.take_along_axis(x, found, -1))
