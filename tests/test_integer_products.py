"""Products of integers wrap around as NumPy's, in every mode, whatever the strides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau.core import config
from flambeau.ops.product_helpers import array_product

DTYPES = ("int8", "uint8", "int16", "int32", "int64")
sizes = st.one_of(st.integers(1, 40), st.sampled_from([64, 100, 130, 257]))


def numbers(rng, dtype: str, *shape: int) -> np.ndarray:
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def laid_out(x: np.ndarray, turned: bool) -> torch.Tensor:
    """A tensor of these values, by rows or by columns in memory."""
    return torch.from_numpy(x.T.copy()).clone().t() if turned else torch.from_numpy(x).clone()


def repeated(function) -> list[np.ndarray]:
    """What the interpreter and then plans make of the same step."""
    return [function().numpy() for _ in range(3)]


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=5, deadline=None)
@given(m=sizes, k=sizes, n=sizes, turned=st.tuples(st.booleans(), st.booleans()), seed=st.integers(0, 9))
def test_products(dtype, m, k, n, turned, seed):
    rng = np.random.default_rng(seed)
    a, b, d = numbers(rng, dtype, m, k), numbers(rng, dtype, k, n), numbers(rng, dtype, n)
    product = np.matmul(a, b)
    x, y, z = laid_out(a, turned[0]), laid_out(b, turned[1]), laid_out(d, False)
    row, column = x[0].clone(), y[:, 0].clone()
    with np.errstate(over="ignore"):
        scaled = product * np.array(3, dtype) + d * np.array(2, dtype)
    expected = [
        (lambda: x @ y, product),
        (lambda: torch.addmm(z, x, y, alpha=3, beta=2), scaled),
        (lambda: x.unsqueeze(0) @ y, product[None]),
        (lambda: x @ column, product[:, 0]),
        (lambda: row.dot(column).reshape(1), product[0, :1]),
        (lambda: (x @ y).relu() if dtype != "uint8" else x @ y, np.maximum(product, 0)),
    ]
    for compiled in (True, False):
        config.compiled = compiled
        try:
            for function, value in expected:
                for made in repeated(function):
                    assert made.dtype == value.dtype
                    np.testing.assert_array_equal(made, value)
        finally:
            config.compiled = True


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("large", [False, True])
def test_array_product(dtype, large):
    """By floating-point numbers where these are exact, else one by one; the same either way."""
    rng = np.random.default_rng(0)
    a, b = (numbers(rng, dtype, 3, 40, 40) if large else rng.integers(0, 9, (3, 40, 40), dtype) for _ in range(2))
    np.testing.assert_array_equal(array_product(a, b), np.matmul(a, b))
    np.testing.assert_array_equal(array_product(a, b[0]), np.matmul(a, b[0]))
