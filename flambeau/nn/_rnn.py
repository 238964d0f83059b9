"""Recurrent networks as functions: one step of each kind of cell, and whole sequences.

A sequence is given as a tensor (length, batch, features) or packed: the rows of all steps one after
the other, and how many sequences are still running at each step. All steps of a layer and direction
are one op (``ops/recurrent.py``). Where states are projected, or precision is mixed automatically,
the input's share of the gates is one product for all steps, and what is left a loop of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flambeau import dispatch, ops
from flambeau.nn import functional as F
from flambeau.ops import recurrent
from flambeau.ops.autocasting import LOWER
from flambeau.tensor import Tensor

State = tuple[Tensor, ...]


def step(mode: str, x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None) -> State:
    """The state after one step; `x` is the input's share of the gates."""
    return recurrent.step(mode, x, F.linear(state[0], w_hh, b_hh), *state)


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
    cast = dispatch.autocast.cast
    if cast is not None and mode == "LSTM" and batch_sizes is None and all([len(p) % 2 == 0 for p in params]):
        # PyTorch computes such a layer as a whole in the short dtype; of the others each product by itself is.
        dispatch.autocast.cast = None
        try:
            (input, initial, params), _ = cast(LOWER, (input, tuple(initial), [list(p) for p in params]), {})
            return sequence(mode, input, None, initial, params, num_layers, dropout, train, bidirectional)
        finally:
            dispatch.autocast.cast = cast
    directions = 2 if bidirectional else 1
    sizes = (input.shape[1],) * input.shape[0] if batch_sizes is None else tuple(batch_sizes)
    last: list[State] = []
    for layer in range(num_layers):
        if layer and dropout:
            input = F.dropout(input, dropout, train)
        outputs = []
        for direction in range(directions):
            index = layer * directions + direction
            first = tuple(kind[index] for kind in initial)
            run = _layer if len(params[index]) % 2 == 0 and dispatch.autocast.cast is None else _stepped_layer
            output, state = run(mode, input, sizes, first, params[index], bool(direction))
            outputs.append(output if batch_sizes is not None else output.unflatten(0, input.shape[:2]))
            last.append(state)
        input = outputs[0] if directions == 1 else ops.cat(outputs, dim=-1)
    return input, tuple(ops.stack(kind) for kind in zip(*last))


def _layer(
    mode: str, input: Tensor, sizes: tuple[int, ...], first: State, params: Sequence[Tensor], reverse: bool
) -> tuple[Tensor, State]:
    """One layer in one direction, as one op: the outputs, as rows, and the last state."""
    w_ih, w_hh, b_ih, b_hh, _ = _unpack(params)
    if mode != "GRU" and b_ih is not None:  # a GRU's second bias is inside of a product
        b_ih, b_hh = b_ih + b_hh, None
    h, c = [s.contiguous() for s in first] if len(first) == 2 else (first[0].contiguous(), None)
    rows = input.reshape(-1, input.shape[-1]).contiguous()
    outputs, inner, _ = recurrent.recurrence(rows, h, c, w_ih, w_hh, b_ih, b_hh, mode, sizes, reverse)
    values = (outputs, inner)[: len(first)]
    return outputs, tuple(recurrent.last(v, sizes, reverse) for v in values)


def _stepped_layer(
    mode: str, input: Tensor, sizes: tuple[int, ...], first: State, params: Sequence[Tensor], reverse: bool
) -> tuple[Tensor, State]:
    """One layer in one direction, step by step, where the one op does not do: with projections, or under autocast."""
    w_ih, w_hh, b_ih, b_hh, w_hr = _unpack(params)

    def advance(x: Tensor, state: State) -> State:
        h, *rest = step(mode, x, state, w_hh, b_hh)
        return (h if w_hr is None else F.linear(h, w_hr), *rest)

    gates = F.linear(input, w_ih, b_ih)
    scan = _scan_reversed if reverse else _scan
    outputs, state = scan(advance, gates.reshape(-1, gates.shape[-1]).split(sizes), first)
    return ops.cat(outputs), tuple(state)


def _unpack(params: Sequence[Tensor]) -> tuple:
    """w_ih, w_hh, b_ih, b_hh, w_hr; None for those that are not there."""
    w_ih, w_hh, *rest = params
    b_ih, b_hh = rest[:2] if len(rest) >= 2 else (None, None)
    w_hr = rest[-1] if len(rest) % 2 else None
    return w_ih, w_hh, b_ih, b_hh, w_hr
