"""Kernels of running sums, products and extremes beside NumPy's: shapes, strides, special values, divided or not."""

import itertools

import numpy as np
import pytest

import flambeau as torch
from flambeau.engine.cpu import scan
from flambeau.ops.record import registry
from tests.fuzz.modes import threads

NAMES = ("cumsum", "cumprod", "cummax", "cummin")
SHAPES = [(5,), (37,), (300,), (6, 100), (3, 4, 5), (2, 16, 33), (7, 1, 40), (2, 3, 2)]


def numbers(rng, shape, dtype: str) -> np.ndarray:
    """Numbers of which many are equal, and some are infinite, NaN or zeros of either sign."""
    if dtype.startswith("int"):
        return rng.integers(-4, 4, shape).astype(dtype)
    x = (rng.standard_normal(shape) * 3).round(rng.integers(0, 3)).astype(dtype)
    for share, special in ((0.1, 0.0), (0.1, -0.0), (0.02, np.inf), (0.02, -np.inf), (0.02 * rng.integers(0, 2), np.nan)):
        x[rng.random(shape) < share] = special
    return x


def check(array: np.ndarray, x: torch.Tensor) -> None:
    for name, dim in itertools.product(NAMES, range(x.dim())):
        made = getattr(x * 1, name)(dim)
        whole = array if name in ("cummax", "cummin") or array.dtype.kind == "f" else array.astype(np.int64)
        expected = registry[name].kernel(whole, dim)
        several = isinstance(expected, tuple)
        for ours, theirs in zip(made if several else [made], expected if several else [expected], strict=True):
            theirs = theirs.astype(ours.numpy().dtype)
            np.testing.assert_array_equal(ours.numpy(), theirs, err_msg=f"{name} of {x.shape}, {x.stride()}, along {dim}")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int32", "int64"])
@pytest.mark.parametrize("count", [1, 2])
def test_scans_are_numpys(dtype, count, monkeypatch):
    if count > 1:
        monkeypatch.setattr(scan, "WORTH_DIVIDING", 16)
    rng = np.random.default_rng(len(dtype) + count)
    with threads(count), torch.no_grad(), np.errstate(all="ignore"):
        for shape in SHAPES:
            array = numbers(rng, shape, dtype)
            for _ in range(2):
                check(array, torch.tensor(array))
            order = rng.permutation(len(shape))
            check(array, torch.tensor(array.transpose(order).copy()).permute(*np.argsort(order).tolist()))


def test_rising_and_falling_lines():
    for n in (15, 16, 17, 64, 1000):
        x = np.arange(n, dtype=np.float32)
        for array in (x, x[::-1].copy(), np.zeros_like(x), np.where(x % 40 == 20, np.nan, x).astype(np.float32)):
            with torch.no_grad(), np.errstate(all="ignore"):
                check(array, torch.tensor(array))
                check(np.stack([array] * 3), torch.tensor(array).expand(3, n))
