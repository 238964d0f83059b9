"""Recurrent networks as functions: one step of each kind of cell, and whole sequences.

A sequence is given as a tensor (length, batch, features) or packed: the rows of all steps one after
the other, and how many sequences are still running at each step. The input's share of the gates is
one product for all steps; what is left for the loop is the state's share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flambeau import ops
from flambeau.nn import functional as F
from flambeau.tensor import Tensor

State = tuple[Tensor, ...]


def _tanh_step(x: Tensor, h: Tensor) -> Tensor:
    return ops.tanh(x + h)


def _relu_step(x: Tensor, h: Tensor) -> Tensor:
    return ops.relu(x + h)


def _gru_step(x: Tensor, h: Tensor, hidden: Tensor) -> Tensor:
    """z h + (1 - z) n, the update gate between the old state and the new."""
    x_reset, x_update, x_new = x.chunk(3, -1)
    h_reset, h_update, h_new = h.chunk(3, -1)
    reset = ops.sigmoid(h_reset + x_reset)
    update = ops.sigmoid(h_update + x_update)
    new = ops.tanh(x_new + h_new * reset)
    return (hidden - new) * update + new


def _lstm_step(x: Tensor, h: Tensor, cell: Tensor) -> State:
    """The new hidden state and the new cell."""
    enter, forget, new, leave = (h + x).chunk(4, -1)
    cell = ops.sigmoid(forget) * cell + ops.sigmoid(enter) * ops.tanh(new)
    return ops.sigmoid(leave) * ops.tanh(cell), cell


def step(mode: str, x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    """The state after one step; `x` is the input's share of the gates."""
    h = F.linear(state[0], w_hh, b_hh)
    if mode == "LSTM":
        return _lstm_step(x, h, state[1])
    if mode == "GRU":
        return (_gru_step(x, h, state[0]),)
    return ((_tanh_step if mode == "RNN_TANH" else _relu_step)(x, h),)


def cell(
    mode: str,
    input: Tensor,
    state: State,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> State:
    """One step of a single cell on input (batch, features)."""
    return step(mode, F.linear(input, w_ih, b_ih), state, w_hh, b_hh)


def _scan(advance: Callable[[Tensor, State], State], gates: Sequence[Tensor], state: State):
    """Run forwards. Returns the outputs of all steps and the last state of each sequence."""
    outputs, ended = [], []
    for x in gates:
        running = x.shape[0]
        if running < state[0].shape[0]:
            ended.append(tuple(s[running:] for s in state))
            state = tuple(s[:running] for s in state)
        state = advance(x, state)
        outputs.append(state[0])
    if ended:
        # The last to end stand first in the batch.
        state = tuple(ops.cat(parts) for parts in zip(state, *reversed(ended)))
    return outputs, state


def _scan_reversed(advance: Callable[[Tensor, State], State], gates: Sequence[Tensor], first: State):
    """Run backwards; shorter sequences join in at their own last step."""
    outputs = []
    state = tuple(s[: gates[-1].shape[0]] for s in first)
    for x in reversed(gates):
        running, before = x.shape[0], state[0].shape[0]
        if running > before:
            state = tuple(ops.cat((s, f[before:running])) for s, f in zip(state, first))
        state = advance(x, state)
        outputs.append(state[0])
    return outputs[::-1], state


def sequence(
    mode: str,
    input: Tensor,
    batch_sizes: list[int] | None,
    initial: State,
    params: Sequence[Sequence[Tensor]],
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
) -> tuple[Tensor, State]:
    """All layers over a whole sequence.

    Args:
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        input: (length, batch, features), or the packed rows.
        batch_sizes: running sequences at each step when packed.
        initial: the first state of each kind, (layers * directions, batch, features).
        params: for each layer and direction w_ih, w_hh, then b_ih, b_hh if there are biases, then
            w_hr if there is a projection.

    Returns the outputs of the last layer and the last states.
    """
    directions = 2 if bidirectional else 1
    last: list[State] = []
    for layer in range(num_layers):
        if layer and dropout:
            input = F.dropout(input, dropout, train)
        outputs = []
        for direction in range(directions):
            index = layer * directions + direction
            w_ih, w_hh, b_ih, b_hh, w_hr = _unpack(params[index])

            def advance(x: Tensor, state: State, w_hh=w_hh, b_hh=b_hh, w_hr=w_hr) -> State:
                state = step(mode, x, state, w_hh, b_hh)
                if w_hr is not None:
                    state = (F.linear(state[0], w_hr), *state[1:])
                return state

            gates = F.linear(input, w_ih, b_ih)
            gates = gates.unbind(0) if batch_sizes is None else gates.split(batch_sizes)
            scan = _scan_reversed if direction else _scan
            steps, state = scan(advance, gates, tuple(kind[index] for kind in initial))
            outputs.append(ops.stack(steps) if batch_sizes is None else ops.cat(steps))
            last.append(state)
        input = outputs[0] if directions == 1 else ops.cat(outputs, dim=-1)
    return input, tuple(ops.stack(kind) for kind in zip(*last))


def _unpack(params: Sequence[Tensor]) -> tuple:
    """w_ih, w_hh, b_ih, b_hh, w_hr; None for those that are not there."""
    w_ih, w_hh, *rest = params
    b_ih, b_hh = rest[:2] if len(rest) >= 2 else (None, None)
    w_hr = rest[-1] if len(rest) % 2 else None
    return w_ih, w_hh, b_ih, b_hh, w_hr
