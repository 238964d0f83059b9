"""Writes to some elements of windows that overlap: the others are not written, as in PyTorch."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402
from flambeau.core import config  # noqa: E402

WRITES = {
    "x[[4]] =": lambda t, x: x.__setitem__([4], t.ones(1, 2)),
    "x[[4]] +=": lambda t, x: x.__setitem__([4], x[[4]] + 2 * x[[4]]),
    "x[mask] =": lambda t, x: x.__setitem__(t.arange(11) == 4, -1.0),
    "x[..., [0]] =": lambda t, x: x.__setitem__((t.tensor([2, 4]), t.tensor([1, 0])), t.tensor([-1.0, -2.0])),
    "index_put_": lambda t, x: x.index_put_((t.tensor([4]),), t.ones(1, 2)),
    "index_put_ accumulate": lambda t, x: x.index_put_((t.tensor([4]),), t.ones(1, 2), accumulate=True),
    "index_add_": lambda t, x: x.index_add_(0, t.tensor([4]), t.ones(1, 2)),
    "index_fill_": lambda t, x: x.index_fill_(0, t.tensor([4]), float("nan")),
    "index_copy_": lambda t, x: x.index_copy_(0, t.tensor([4]), -t.ones(1, 2)),
    "scatter_": lambda t, x: x.scatter_(0, t.tensor([[4, 4]]), t.ones(1, 2)),
    "scatter_add_": lambda t, x: x.scatter_add_(0, t.tensor([[4, 4]]), t.ones(1, 2)),
    "scatter_reduce_": lambda t, x: x.scatter_reduce_(0, t.tensor([[4, 4]]), 50 * t.ones(1, 2), "amax"),
    "masked_fill_": lambda t, x: x.masked_fill_((t.arange(11) == 4)[:, None], 0.5),
    "masked_scatter_": lambda t, x: x.masked_scatter_((t.arange(11) == 4)[:, None].expand(11, 2), -t.ones(2)),
    "put_": lambda t, x: x.put_(t.tensor([8, 9]), -t.ones(2)),
    "x[4] =": lambda t, x: x.__setitem__(4, -1.0),
}


@pytest.mark.parametrize("on_tape", [False, True])
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("name", WRITES)
def test_a_write_to_one_of_the_windows(name, eager, on_tape, monkeypatch):
    def run(t):
        base = t.arange(12.0) - 3
        base = base.requires_grad_() * 1 if on_tape else base
        for _ in range(3):
            WRITES[name](t, base.unfold(0, 2, 1))
        return base.tolist()

    monkeypatch.setattr(config, "eager", eager)
    found, expected = run(flambeau), run(torch)
    assert list(map(repr, found)) == list(map(repr, expected))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64", "uint8", "bool"])
@pytest.mark.parametrize("name", ["x[[4]] +=", "index_fill_", "masked_fill_", "x[4] ="])
def test_windows_of_other_dtypes(name, dtype):
    def run(t):
        found = []
        for _ in range(3):  # the last is compiled
            base = (t.arange(12.0) % 5).to(getattr(t, dtype)) * 1
            WRITES[name](t, base.unfold(0, 2, 1))
            found.append(base.tolist())
        return found

    try:
        expected = run(torch)
    except (RuntimeError, TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            run(flambeau)
    else:
        assert list(map(repr, run(flambeau))) == list(map(repr, expected))


@pytest.mark.parametrize("diagonal", [-(2**63), -4, -3, 3, 4, 2**63 - 1])
@pytest.mark.parametrize("name", ["tril", "triu"])
def test_triangles_beyond_the_matrix(name, diagonal):
    assert getattr(flambeau.ones(3, 4), name)(diagonal).tolist() == getattr(torch.ones(3, 4), name)(diagonal).tolist()


@pytest.mark.parametrize("step", [3, 2**40])
def test_gradients_of_slices_with_huge_steps(step):
    def run(t):
        x = t.ones(3, 2, requires_grad=True)
        (x.expand(3, 2)[::step] * 3).sum().backward()
        return x.grad.tolist()

    assert run(flambeau) == run(torch)
