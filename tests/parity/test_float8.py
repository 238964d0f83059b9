"""The 8-bit floats, which are stored, moved and converted as in PyTorch."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402
from flambeau.core import dtypes  # noqa: E402

NAMES = [d.name for d in dtypes.FLOATS8]


def numbers() -> np.ndarray:
    """Those near all that there are, at the limits, and any bits."""
    rng = np.random.default_rng(0)
    limits = [np.inf, -np.inf, np.nan, -np.nan, 0.0, -0.0, 448, 449, 464, 465, 480, 57344, 61440, 65536, 240, 247, 248, 256]
    scales = [2.0**k * f for k in (-133, -128, -127, -126, 0, 126, 127) for f in (1, 1.25, 1.5, 1.75)]
    bits = rng.integers(0, 1 << 32, 20000, dtype=np.uint32).view(np.float32)
    return np.concatenate([limits, scales, bits, rng.standard_normal(20000), np.arange(-500, 500, 0.25)]).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("source", [np.float32, np.float64, np.float16])
def test_conversions(name, source):
    with np.errstate(all="ignore"):
        values = numbers().astype(source)
    theirs = torch.from_numpy(values).to(getattr(torch, name)).view(torch.uint8).numpy()
    ours = flambeau.from_numpy(values).to(getattr(flambeau, name)).view(flambeau.uint8).numpy()
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_all_numbers(name):
    bits = np.arange(256, dtype=np.uint8)
    theirs, ours = torch.from_numpy(bits).view(getattr(torch, name)), flambeau.from_numpy(bits).view(getattr(flambeau, name))
    np.testing.assert_array_equal(ours.double().numpy(), theirs.double().numpy())
    assert repr(ours[:9]) == repr(theirs[:9]) and ours.type() == theirs.type()
    if name != "float8_e5m2fnuz":  # whose numbers between 1 and 2 are 0.25 apart, where PyTorch says 0.125
        assert repr(flambeau.finfo(ours.dtype)) == repr(torch.finfo(theirs.dtype))
    for save, load, module in [(torch, flambeau, flambeau), (flambeau, torch, torch)]:
        file = io.BytesIO()
        save.save(theirs if save is torch else ours, file)
        file.seek(0)
        loaded = load.load(file)
        assert loaded.dtype is getattr(module, name) and loaded.view(module.uint8).tolist() == bits.tolist()


CALLS = {
    "abs": lambda t, x: x.abs(), "eq": lambda t, x: (x == x, x != 1), "isnan": lambda t, x: x.isnan(), "cat": lambda t, x: t.cat([x, x]),
    "rows": lambda t, x: x[t.tensor([1, 0])], "select": lambda t, x: x.index_select(1, t.tensor([0, 2])), "mask": lambda t, x: x[x.float() > 0],
    "flip": lambda t, x: x.flip(0).roll(1, 0), "fill": lambda t, x: x.clone().fill_(2.0), "copy": lambda t, x: x.clone().copy_(t.ones(2, 3)),
    "write": lambda t, x: [y := x.clone(), y[0].fill_(1.0), y[:, 1].zero_()][0], "where": lambda t, x: t.where(x.float() > 0, x, x.flip(0)),
    "pad": lambda t, x: t.nn.functional.pad(x, (1, 1)), "order": lambda t, x: x.t().contiguous(), "any": lambda t, x: (x.any(), x.all()),
    "full": lambda t, x: (t.full((2,), 3.0, dtype=x.dtype), t.zeros_like(x), t.tensor([1.0, 0.3], dtype=x.dtype)), "to": lambda t, x: (x.long(), x.bool(), x.half()),
    "list": lambda t, x: (x.tolist(), x[0, 0].item()), "repeat": lambda t, x: x.repeat(2, 1), "lookup": lambda t, x: t.nn.functional.embedding(t.tensor([1]), x),
    # refused
    "add": lambda t, x: x + x, "mul": lambda t, x: x * 2, "mixed": lambda t, x: x + t.ones(2, 3), "lt": lambda t, x: x < x, "sum": lambda t, x: x.sum(),
    "exp": lambda t, x: x.exp(), "sort": lambda t, x: x.sort(), "gather": lambda t, x: x.gather(1, t.zeros(2, 1, dtype=t.long)), "numpy": lambda t, x: x.numpy(),
    "rand": lambda t, x: t.rand(2, dtype=x.dtype), "arange": lambda t, x: t.arange(3, dtype=x.dtype), "promote": lambda t, x: t.promote_types(x.dtype, t.float32),
}  # fmt: skip


def outcome(t, name: str, call):
    x = t.tensor([[1.0, -2.0, 0.5], [300.0, 448.0, -0.0]]).to(getattr(t, name))

    def plain(y):
        if isinstance(y, t.Tensor):
            return str(y.dtype), y.double().tolist()
        return [plain(z) for z in y] if isinstance(y, (tuple, list)) else y

    try:
        return str(plain(call(t, x)))
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_what_can_be_done(name, call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = outcome(torch, name, call)
        assert [outcome(flambeau, name, call) for _ in range(3)] == [wanted] * 3
