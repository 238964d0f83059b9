"""One step of a recurrent network is a sequence of length one: one op, with the numbers of the formulas."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.core import config
from flambeau.engine import graph
from flambeau.nn import _rnn

CELLS = {
    "LSTM": nn.LSTMCell,
    "GRU": nn.GRUCell,
    "RNN_TANH": nn.RNNCell,
    "RNN_RELU": lambda *args, **kwargs: nn.RNNCell(*args, nonlinearity="relu", **kwargs),
}


@pytest.mark.parametrize("mode", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_computes_the_formulas(mode, bias):
    torch.manual_seed(0)
    cell = CELLS[mode](3, 5, bias=bias)
    weights = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    x = torch.randn(6, 4, 3, requires_grad=True)
    first = [torch.randn(5, 6).t() for _ in range(2 if mode == "LSTM" else 1)]  # not contiguous

    def run(step) -> list[torch.Tensor]:
        cell.zero_grad()
        x.grad = None
        state, total = tuple(first), 0
        for t in range(4):
            state = step(x[:, t], state)
            total = total + state[0].sin().sum()
        (total + sum((s * s).sum() for s in state)).backward()
        return [*state, x.grad, *[p.grad for p in cell.parameters()]]

    def whole(input, state):
        return cell(input, state) if mode == "LSTM" else (cell(input, state[0]),)

    for _ in range(4):  # interpreted, and compiled
        expected = run(lambda input, state: _rnn.cell(mode, input, state, *weights))
        for got, value in zip(run(whole), expected, strict=True):
            assert torch.allclose(got, value, rtol=1e-5, atol=1e-6)


def test_a_cell_is_one_op():
    cell, x = nn.LSTMCell(3, 5), torch.ones(2, 3)
    start = len(graph.trace)
    h, c = cell(x)
    assert config.eager or "_recurrence" in [node.op.name for node in graph.trace[start:]]
    assert h.shape == c.shape == (2, 5)


def test_gradients_of_gradients_of_a_cell():
    cell = nn.GRUCell(2, 3).double()
    x, h = (torch.randn(2, n, dtype=torch.float64, requires_grad=True) for n in (2, 3))
    assert torch.autograd.gradgradcheck(cell, (x, h))


def test_dtypes_that_do_not_fit_are_refused_at_the_call():
    cell = nn.LSTMCell(3, 5)
    with pytest.raises(RuntimeError, match="dtype"):
        cell(torch.ones(2, 3, dtype=torch.float64))
    state = torch.zeros(2, 5)
    with pytest.raises(RuntimeError, match="doesn't match hidden1 batch size 4"):
        cell(torch.ones(2, 3), (state, torch.zeros(4, 5)))
    with pytest.raises(RuntimeError, match="hidden0 has inconsistent hidden_size: got 4, expected 5"):
        cell(torch.ones(2, 3), (torch.zeros(2, 4), state))
