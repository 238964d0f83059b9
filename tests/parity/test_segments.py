"""Reductions of segments beside PyTorch: values and gradients, among zeros, ties and NaN."""

import itertools

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

REDUCTIONS = ("sum", "mean", "prod", "max", "min")
INITIAL = (None, 0.0, 2.5)
SEGMENTS = {
    "lengths": lambda t: {"lengths": t.tensor([3, 0, 2, 1, 3])},
    "one": lambda t: {"lengths": t.tensor([9])},
    "short": lambda t: {"lengths": t.tensor([3, 2]), "unsafe": True},
    "int32": lambda t: {"lengths": t.tensor([5, 4], dtype=t.int32)},
    "offsets": lambda t: {"offsets": t.tensor([1, 4, 4, 8])},
}


def values(kind):
    rng = np.random.default_rng(1)
    x = rng.integers(-2, 3, 9).astype(np.float64) if kind != "far" else rng.standard_normal(9)
    if kind == "nan":
        x[[2, 5]] = np.nan
    return x


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("segments", SEGMENTS)
def test_segments(reduce, segments):
    for initial, kind, dtype in itertools.product(INITIAL, ("far", "ties", "nan"), ("float32", "float64", "bfloat16")):
        seen = []
        for t in (torch, flambeau):
            x = t.tensor(values(kind)).to(getattr(t, dtype)).requires_grad_()
            y = t.segment_reduce(x, reduce, initial=initial, **SEGMENTS[segments](t))
            y.backward(t.arange(1.0, y.numel() + 1).to(x.dtype))
            assert type(y.grad_fn).__name__ == "SegmentReduceBackward0"
            seen.append([v.detach().double().numpy() for v in (y, x.grad)])
        tolerance = 2e-2 if dtype == "bfloat16" else 1e-5
        for wanted, got in zip(*seen, strict=True):
            if segments in ("short", "offsets") and len(got) == 9:
                inside = slice(1, 8) if segments == "offsets" else slice(0, 5)
                wanted, got = wanted[inside], got[inside]  # PyTorch leaves the gradient of the others as memory was
            np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance, err_msg=f"{initial} {kind} {dtype}")


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("layout", ["rows", "transposed", "inner", "offsets"])
def test_segments_of_more_dims(reduce, layout):
    seen = []
    for t in (torch, flambeau):
        x = t.arange(24.0).sin().reshape(4, 6)
        if layout == "rows":
            y = t.segment_reduce(x, reduce, lengths=t.tensor([1, 3]))
        elif layout == "transposed":
            y = t.segment_reduce(x.t(), reduce, lengths=t.tensor([4, 2]))
        elif layout == "inner":
            y = t.segment_reduce(x.reshape(2, 6, 2), reduce, lengths=t.tensor([[1, 5, 0], [2, 2, 2]]), axis=-2)
        else:
            y = t.segment_reduce(x, reduce, offsets=t.tensor([[0, 1, 6], [0, 2, 6], [0, 3, 6], [0, 6, 6]]), axis=1)
        seen.append(y.numpy())
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-5)
