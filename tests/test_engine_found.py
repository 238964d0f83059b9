"""What the fuzzer found, as small programs: the same in immediate mode, interpreted and compiled."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau as torch
from flambeau import dispatch
from flambeau.core import config
from flambeau.engine.run import run_pending
from flambeau.nn import functional as F

MODES = ["immediate", "interpreted"]
try:
    import llvmlite  # noqa: F401

    MODES += ["compiled", "compiled after one run"]
except ImportError:
    pass


@pytest.fixture(params=MODES, autouse=True)
def mode(request, monkeypatch):
    run_pending()
    monkeypatch.setattr(config, "eager", request.param == "immediate")
    monkeypatch.setattr(config, "compiled", request.param.startswith("compiled"))
    monkeypatch.setattr(config, "compile_after", int(request.param == "compiled after one run"))
    yield request.param
    run_pending()


def thrice(function) -> list:
    return [function() for _ in range(3)]


def test_shared_memory_is_read_in_the_order_of_a_transpose():
    """The second call follows what the first one left, which must not forget the transpose."""

    def program():
        t = torch.arange(16.0).reshape(4, 4) * 1
        array = t.numpy()
        twice = t.T * 2
        found = twice.tolist()
        del array
        return found

    assert thrice(program) == [(np.arange(16.0).reshape(4, 4).T * 2).tolist()] * 3


def test_writes_to_a_transpose_of_shared_memory():
    def program():
        t = torch.arange(24.0).reshape(2, 3, 4) * 1
        array = t.numpy()
        row = t.unbind(1)[0]
        row.T.mul_(2.5)
        return row.tolist(), float(array.sum())

    expected = np.arange(24.0).reshape(2, 3, 4)
    expected[:, 0] *= 2.5
    assert thrice(program) == [(expected[:, 0].tolist(), expected.sum())] * 3


def test_a_number_written_twice_to_a_tensor_without_dims():
    def program():
        t = torch.arange(5.0).median()
        t.fill_(2.0)
        run_pending()
        t.zero_()
        return t.item()

    assert thrice(program) == [0.0] * 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_sum_of_no_dims_in_half_precision(dtype):
    def program():
        total = torch.tensor(0.9).to(dtype).tanh().square().sum()
        return total.item(), (torch.ones(2, 3).mean(1) * 2 * total).tolist()

    exact = math.tanh(0.9) ** 2
    for total, products in thrice(program):
        assert total == pytest.approx(exact, rel=1e-2)
        assert products == pytest.approx([2 * total] * 2, rel=1e-6)


def test_statistics_of_another_shape():
    """Running statistics have one dim; PyTorch refuses others too."""
    x = torch.tensor([[1.0, 2.0, 3.0]])
    with pytest.raises(RuntimeError, match="expected 1 dims but tensor has 2: running_mean has shape"):
        F.batch_norm(x, x, torch.ones(3), eps=0.0)


@pytest.mark.parametrize("pool", [lambda x: F.avg_pool1d(x, 2), lambda x: F.adaptive_avg_pool1d(x, 2)])
def test_the_mean_of_negative_zeros_is_zero(pool):
    found = thrice(lambda: np.signbit(pool(torch.full((2, 1, 4), -0.0)).numpy()).any())
    assert found == [False] * 3


def test_elu_of_negative_zero():
    found = thrice(lambda: F.elu(torch.tensor([-0.0, 0.0]) * 1).numpy().tolist())
    assert [[math.copysign(1, x) for x in row] for row in found] == [[-1.0, 1.0]] * 3


def test_results_that_are_taken_apart_later(monkeypatch):
    """A trace may end between an op with several results and those who take them."""
    x = torch.arange(8.0).reshape(1, 2, 4)
    expected = [[[[1.0, 3.0], [5.0, 7.0]]], [[[1, 3], [1, 3]]]]
    for pending in range(1, 5):
        monkeypatch.setattr(config, "max_pending_nodes", pending)
        assert [t.tolist() for t in F.max_pool1d(x * 1, 2, return_indices=True)] == expected


@pytest.mark.parametrize(
    "write",
    [lambda t, v: t.fill_(v), lambda t, v: t.masked_fill_(t == 0, v), lambda t, v: t.scatter_(0, torch.arange(3), v)],
    ids=["fill_", "masked_fill_", "scatter_"],
)
def test_numbers_that_do_not_fit(write):
    def written(value, dtype=torch.uint8):
        return write(torch.zeros(3, dtype=dtype), value).tolist()

    assert written(-2) == [254] * 3 and written(2.5) == [2] * 3 and written(-2.5, torch.int8) == [-2] * 3
    for value in (300, -2.25, -1e9, 1j, float("inf")):
        with pytest.raises(RuntimeError, match="value cannot be converted to type uint8_t without overflow"):
            written(value)
    with pytest.raises(RuntimeError, match="without overflow"):
        written(1e6, torch.float16)


@pytest.mark.parametrize("write", [lambda t, v: t.fill_(v), lambda t, v: t.masked_fill(t == 0, v)], ids=["fill_", "masked_fill"])
def test_a_call_that_is_like_earlier_ones_but_for_a_number_that_does_not_fit(write):
    t = torch.zeros(3, dtype=torch.uint8)
    assert [write(t * 0, 5).tolist() for _ in range(3)] == [[5] * 3] * 3
    with pytest.raises(RuntimeError, match="without overflow"):
        write(t * 0, 300)


def test_sums_of_negative_zeros_are_zero():
    def program():
        zeros = [torch.full(shape, -0.0) * 1 for shape in ((), (1,), (3,), (3, 1))]
        return [math.copysign(1, f.item()) for z in zeros for f in (z.sum(), z.mean(), z.sum(-1).sum())]

    assert thrice(program) == [[1.0] * 12] * 3


def test_a_zero_dim_array_that_is_a_scalar_for_numpy():
    x = torch.zeros(3)
    for k in range(4):
        number = dispatch.wrap(np.float32(1) + np.float32(k))  # NumPy gives a scalar here
        noise = [np.full(4, 7.0) for _ in range(100)]
        assert (x + number).tolist() == [k + 1] * 3
        del noise
