"""``repr`` against PyTorch: the golden texts are really PyTorch's, and several hundred varied tensors print alike."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

GOLDEN = Path(__file__).parents[1] / "printing.txt"
SHAPES = [
    (), (1,), (3,), (0,), (0, 3), (7,), (40,), (2, 3), (5, 1), (1, 30), (2, 2, 2), (2, 3, 4, 2), (1001,), (50, 50),
    (2, 600), (600, 2), (7, 7, 7, 7), (1, 1, 1, 1, 1),
]  # fmt: skip
DTYPES = [
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "int8", "bool", "complex64", "complex128",
]  # fmt: skip
OPTIONS = [
    {}, {"profile": "short"}, {"precision": 2}, {"precision": 8, "linewidth": 120}, {"threshold": 10, "edgeitems": 2},
    {"sci_mode": True}, {"sci_mode": False}, {"linewidth": 30}, {"edgeitems": 0, "threshold": 5},
    {"edgeitems": 1, "threshold": 0}, {"precision": 0},
]  # fmt: skip


@pytest.fixture(autouse=True)
def default_options():
    yield
    torch.set_printoptions(profile="default")
    flambeau.set_printoptions(profile="default")


def test_golden_texts_are_pytorchs():
    names = {"torch": torch, "tensor": torch.tensor, "inf": float("inf"), "nan": float("nan")}
    assert doctest.testfile(str(GOLDEN), module_relative=False, globs=names).failed == 0


def _values(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Values of one of the kinds that ask for different notations."""
    x = np.asarray(rng.standard_normal(shape))
    kinds = (
        lambda: x,
        lambda: x * 10.0 ** rng.uniform(-8, 8),
        lambda: np.round(x),
        lambda: np.round(x * 1000),
        lambda: np.where(rng.random(shape) < 0.5, x, 0),
        lambda: np.where(rng.random(shape) < 0.3, np.nan, x),
        lambda: np.where(rng.random(shape) < 0.3, rng.choice([np.inf, -np.inf]), np.round(x)),
        lambda: np.exp(x) ** 5,
        lambda: x * -0.0,
    )
    return np.asarray(kinds[rng.integers(len(kinds))]())


def _same_tensor(rng: np.random.Generator, shape: tuple[int, ...], dtype: str):
    values = _values(rng, shape)
    if dtype.startswith("complex"):
        imaginary = _values(rng, shape)
        values = np.stack([values, imaginary], -1).view(np.complex128)[..., 0]
    elif "float" not in dtype:
        values = np.clip(np.nan_to_num(values, posinf=1e4, neginf=-1e4), 0, 100).astype(np.int64)
    grad = "float" in dtype and rng.random() < 0.4
    through_an_op = rng.random() < 0.5
    transposed = len(shape) > 1 and rng.random() < 0.3
    for library in (torch, flambeau):
        t = library.tensor(values).to(getattr(library, dtype))
        if transposed:
            t = t.transpose(0, 1)
        if grad:
            t = t.detach().requires_grad_()
            t = t * 2 if through_an_op else t
        yield t


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_varied_tensors_print_alike(dtype, options):
    torch.set_printoptions(**options)
    flambeau.set_printoptions(**options)
    rng = np.random.default_rng(len(str(options)) + 1000 * DTYPES.index(dtype))
    for shape in SHAPES:
        expected, got = _same_tensor(rng, shape, dtype)
        assert repr(got) == repr(expected), (shape, dtype)
