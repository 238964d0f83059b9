"""``arange``, ``linspace`` and ``logspace`` are PyTorch's to the last bit, in every dtype and around the parts of its threads."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

NAMES = "float16 bfloat16 float32 float64 uint8 int8 int16 int32 int64 complex64".split()
STORED = {1: "int8", 2: "int16", 4: "int32", 8: "int64"}


def _bits(t, library):
    t = library.view_as_real(t) if t.dtype.is_complex else t
    if t.is_floating_point():
        t = t.masked_fill(t.isnan(), float("nan"))  # of either sign
    return t.view(getattr(library, STORED[t.element_size()])).tolist()


def _agree(name, dtype, *args, **kwargs):
    found = []
    for library in (flambeau, torch):
        library.set_num_threads(2)
        try:
            found.append(_bits(getattr(library, name)(*args, dtype=getattr(library, dtype), **kwargs), library))
        except Exception as error:
            found.append((type(error), str(error)[:30]))
    assert found[0] == found[1], (name, dtype, args)


@pytest.fixture(autouse=True)
def _threads():
    before = flambeau.get_num_threads(), torch.get_num_threads()
    yield
    flambeau.set_num_threads(before[0])
    torch.set_num_threads(before[1])


@pytest.mark.parametrize("dtype", NAMES)
def test_generated_ranges(dtype):
    rng = np.random.default_rng(0)
    for k in range(30):
        start, end = np.sort(rng.normal(size=2) * 10.0 ** rng.integers(-2, 5)).tolist()
        if dtype in ("uint8", "int8", "int16"):
            start, end = np.sort(rng.uniform(0, 100, 2)).tolist()
        step = (end - start) / float(rng.integers(1, 300))
        if k % 2:
            start, end, step = end, start, -step
        start = (start, 0, int(start))[k % 3]
        if dtype != "complex64" and ("int" not in dtype or abs(step) > 1e-2):
            _agree("arange", dtype, start, end, step)
        _agree("linspace", dtype, start, end, int(rng.integers(0, 400)))


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("n", [1, 7, 8, 16, 17, 32, 33, 63, 64, 65, 127, 32768, 32769, 65537, 100001])
def test_ends_of_vectors_and_of_threads(n, dtype):
    if n > 100 and dtype in ("uint8", "int8", "int16"):
        n %= 100
    if dtype != "complex64":
        _agree("arange", dtype, 0.0, n * 0.3 - 0.1, 0.3) if "int" not in dtype else _agree("arange", dtype, 1, n)
    _agree("linspace", dtype, 0, 100, n)


@pytest.mark.parametrize("dtype", [d for d in NAMES if d != "complex64"])
@pytest.mark.parametrize("args", [(0, 2, 30), (-1, 1, 50), (0.25, 3.5, 100), (0.7, -0.3, 33), (2, 3, 1), (0, 1, 0)])
@pytest.mark.parametrize("base", [10.0, 2.0, 3])
def test_logspace(args, base, dtype):
    if dtype != "float64":
        _agree("logspace", dtype, *args, base=base)
        return
    ours, theirs = (x.logspace(*args, base=base, dtype=x.float64).tolist() for x in (flambeau, torch))
    np.testing.assert_allclose(ours, theirs, rtol=3e-16)  # the C library's powers are not always the nearest number


def test_a_zero_in_the_middle():
    assert flambeau.arange(-8.0, 8.0, 0.1)[78:81].tolist() == torch.arange(-8.0, 8.0, 0.1)[78:81].tolist()


@pytest.mark.parametrize("dtype", [*NAMES, "bool"])
def test_numbers_that_are_refused(dtype):
    for n in (300, -1, -1.5, 2**31, 2**63, 10**30, 1e300, float("inf"), float("nan"), 1 + 2j):
        _agree("linspace", dtype, 0, n, 3)
        _agree("linspace", dtype, n, 1, 3)
        _agree("arange", dtype, n, 3 if n.__class__ is not complex else n) if dtype != "complex64" and n not in (
            -(2**31),
            1e300,
        ) else None
        _agree("arange", dtype, 0, 3, n) if n.__class__ is not complex else None
