"""Pools of volumes in the compiled tier, and their gradients, against their meaning in NumPy, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("llvmlite")
pytest.importorskip("hypothesis")

from hypothesis import given  # noqa: E402
from hypothesis import settings as examples  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import flambeau as torch  # noqa: E402
from flambeau.engine.cpu import planes  # noqa: E402
from flambeau.engine.cpu.specs import VolumeSpec  # noqa: E402
from flambeau.nn import functional as F  # noqa: E402
from flambeau.ops import pooling  # noqa: E402
from tests.fuzz.modes import threads  # noqa: E402
from tests.test_engine_pooling import LEVELS, TYPES, guarded, run, strides, unharmed  # noqa: E402


@st.composite
def windows(draw, means: bool = False):
    """Settings of a pool of a volume, and how many windows it has."""
    made: list[list[int]] = [[], [], [], [], [], []]
    for most in (7, 7, 40):
        n, k, s = draw(st.integers(1, most)), draw(st.sampled_from([1, 2, 3, 5])), draw(st.sampled_from([1, 2, 2, 3, 7]))
        d = 1 if means else draw(st.integers(1, 2))
        n = max(n, d * (k - 1) + 1)
        p = draw(st.integers(0, k // 2))
        for each, number in zip(made, (n, k, s, p, d, pooling._windows(n, k, s, p, d, draw(st.booleans()))), strict=True):
            each.append(number)
    return tuple(map(tuple, made))


def volumes(draw, shape, dtype: str, special: bool = False) -> np.ndarray:
    """Numbers with ties, in one of several layouts."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    x = np.round(rng.standard_normal(shape), 1).astype(dtype)
    if special:
        x.flat[rng.integers(x.size, size=x.size // 8)] = np.nan
        x.flat[rng.integers(x.size, size=x.size // 4)] = -np.inf
    order = draw(st.sampled_from([(0, 1, 2, 3, 4), (0, 2, 3, 4, 1), (1, 0, 4, 3, 2)]))
    if draw(st.booleans()):
        return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    return np.broadcast_to(x[:, :, :1], shape)


SETTINGS = dict(max_examples=20, deadline=None, derandomize=True)


@pytest.mark.parametrize("level", LEVELS)
@examples(**SETTINGS)
@given(data=st.data(), case=windows(), dtype=st.sampled_from(list(TYPES)), special=st.booleans())
def test_maxima(level, data, case, dtype, special):
    size, kernel, stride, padding, dilation, outputs = case
    x = volumes(data.draw, (2, 3, *size), dtype, special)
    best, places = pooling._max_pool_kernel(x, kernel, stride, padding, dilation, outputs)
    (around, y), (beside, indices) = guarded(best.shape, dtype), guarded(best.shape, np.int64)
    spec = VolumeSpec("max", TYPES[dtype], (2, 3), size, outputs, kernel, stride, padding, dilation, strides(x))
    run(spec, [x, y, indices], level)
    np.testing.assert_array_equal(y, best)
    np.testing.assert_array_equal(indices, places)
    assert unharmed(around) and unharmed(beside)


@pytest.mark.parametrize("level", LEVELS)
@examples(**SETTINGS)
@given(
    data=st.data(),
    case=windows(means=True),
    dtype=st.sampled_from(list(TYPES)),
    padded=st.booleans(),
    divisor=st.sampled_from([None, None, 5, -2]),
)
def test_means_and_their_gradient(level, data, case, dtype, padded, divisor):
    size, kernel, stride, padding, dilation, outputs = case
    settings = {"kernel": kernel, "stride": stride, "padding": padding, "outputs": outputs, "sizes": size}
    counting = {"count_include_pad": padded, "divisor_override": divisor}
    for part, meaning, read, made in (
        ("mean", pooling._avg_pool_kernel, size, outputs),
        ("mean gradient", pooling._avg_pool_grad_kernel, outputs, size),
    ):
        x = volumes(data.draw, (2, 3, *read), dtype)
        around, y = guarded((2, 3, *made), dtype)
        by = None if divisor is None else float(divisor)
        spec = VolumeSpec(part, TYPES[dtype], (2, 3), size, outputs, kernel, stride, padding, dilation, strides(x), by, padded)
        run(spec, [x, y], level)
        np.testing.assert_array_equal(y, meaning(x, **settings, **counting))
        assert unharmed(around)


@pytest.mark.parametrize("count", [1, 2])
def test_steps_are_native_and_the_same_as_at_once(count, monkeypatch):
    """Whole volumes, batches of them and volumes whose channels are neighbours: nothing is left to NumPy."""
    monkeypatch.setattr(planes, "WORTH_DIVIDING", 64)
    rng = np.random.default_rng(0)

    def step(x, pool):
        leaf = x.detach().requires_grad_()
        made = pool(leaf)
        (made * made).sum().backward()
        return made.tolist(), leaf.grad.tolist()

    with threads(count):
        for shape in ((2, 3, 4, 6, 9), (3, 5, 4, 20)):
            x = torch.tensor(rng.standard_normal(shape).astype(np.float32))
            if len(shape) == 5:
                x = torch.cat([x, x]).contiguous(memory_format=torch.channels_last_3d)
            for pool in (lambda x: F.max_pool3d(x, 2, padding=1), lambda x: F.avg_pool3d(x, (3, 2, 3), (1, 2, 2), 1, True, False)):
                first = step(x, pool)
                for _ in range(5):
                    assert step(x, pool) == first
                before = torch.engine_stats()["nodes_numpy"]
                step(x, pool)
                assert torch.engine_stats()["nodes_numpy"] == before
