"""Rules of recurrent layers. What PyTorch's layers compute too runs by them, all else step by step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.onnx.importing.registry import OnnxError, rule

Tensor = torch.Tensor

_ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "affine": lambda x, alpha=1.0, beta=0.0: alpha * x + beta,
    "elu": lambda x, alpha=1.0, beta=0.0: F.elu(x, alpha),
    "hardsigmoid": lambda x, alpha=0.2, beta=0.5: torch.clamp(alpha * x + beta, 0, 1),
    "leakyrelu": lambda x, alpha=0.01, beta=0.0: F.leaky_relu(x, alpha),
    "relu": lambda x, alpha=0.0, beta=0.0: torch.relu(x),
    "scaledtanh": lambda x, alpha=1.0, beta=1.0: alpha * torch.tanh(beta * x),
    "sigmoid": lambda x, alpha=0.0, beta=0.0: torch.sigmoid(x),
    "softplus": lambda x, alpha=0.0, beta=0.0: F.softplus(x),
    "softsign": lambda x, alpha=0.0, beta=0.0: F.softsign(x),
    "tanh": lambda x, alpha=0.0, beta=0.0: torch.tanh(x),
    "thresholdedrelu": lambda x, alpha=1.0, beta=0.0: torch.where(x > alpha, x, torch.zeros_like(x)),
}

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, State], State]
"""One step: the gates' products with the input, and the state; the new state, whose first part is the output."""


def _activations(
    names: list[str] | None, default: list[str], directions: int, alpha: Any, beta: Any
) -> list[list[Callable[[Tensor], Tensor]]]:
    """For each direction its activations."""
    names = list(names or default * directions)
    alphas, betas = list(alpha or []), list(beta or [])
    made: list[Callable[[Tensor], Tensor]] = []
    for i, name in enumerate(names):
        if name.lower() not in _ACTIVATIONS:
            raise OnnxError(f"a recurrent layer has the activation {name!r}, which is not known")
        settings = {key: values[i] for key, values in (("alpha", alphas), ("beta", betas)) if i < len(values)}
        made.append(partial(_ACTIVATIONS[name.lower()], **settings))
    return [made[i * len(default) : (i + 1) * len(default)] for i in range(directions)]


def _scan(x: Tensor, start: State, cell: Cell, lengths: Tensor | None, reverse: bool) -> tuple[Tensor, State]:
    """All steps of one direction over ``x`` (time, batch, gates): the outputs, and the last state of each sequence."""
    state, steps = start, range(x.shape[0])
    made: list[Tensor] = []
    for t in reversed(steps) if reverse else steps:
        new = cell(x[t], state)
        out = new[0]
        if lengths is not None:
            inside = (lengths > t).unsqueeze(1)
            new = tuple(torch.where(inside, n, o) for n, o in zip(new, state, strict=True))
            out = torch.where(inside, out, torch.zeros_like(out))
        state = new
        made.append(out)
    return torch.stack(made[::-1] if reverse else made), state


def _layer(
    gates: int, default: list[str], cell: Callable[..., Cell], parts: int, x: Tensor, w: Tensor, r: Tensor, b: Tensor | None,
    lengths: Tensor | None, starts: list[Tensor | None], direction: str, layout: int, activations: Any, alpha: Any, beta: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Both directions of a layer; the outputs (time, directions, batch, hidden) and the last states (directions, batch, hidden)."""
    if layout:
        x = x.transpose(0, 1)
        starts = [None if s is None else s.transpose(0, 1) for s in starts]
    directions, hidden = w.shape[0], r.shape[-1]
    functions = _activations(activations, default, directions, alpha, beta)
    outputs, states = [], []
    for d in range(directions):
        bias = torch.zeros(2 * gates * hidden, dtype=x.dtype) if b is None else b[d]
        from_input, from_state = bias[: gates * hidden], bias[gates * hidden :]
        start = tuple(torch.zeros(x.shape[1], hidden, dtype=x.dtype) if s is None else s[d] for s in starts[:parts])
        step = cell(functions[d], r[d], from_state, d)
        out, last = _scan(F.linear(x, w[d], from_input), start, step, lengths, reverse=direction == "reverse" or d == 1)
        outputs.append(out)
        states.append(last)
    y = torch.stack(outputs, 1)
    lasts = [torch.stack([s[i] for s in states]) for i in range(parts)]
    if layout:
        return (y.permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in lasts))
    return (y, *lasts)


def _reordered(t: Tensor, order: list[int], gates: int) -> Tensor:
    """The blocks of gates, along the first dim, in PyTorch's order."""
    parts = t.chunk(gates, 0)
    return torch.cat([parts[i] for i in order], 0)


def _native(
    run: Callable[..., Any],
    gates: int,
    order: list[int],
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    starts: list[Tensor | None],
    direction: str,
) -> tuple[Tensor, ...]:
    """The layer by PyTorch's function: its steps are one operation each way."""
    directions, hidden = w.shape[0], r.shape[-1]
    weights: list[Tensor] = []
    for d in range(directions):
        weights += [_reordered(w[d], order, gates), _reordered(r[d], order, gates)]
        if b is not None:
            weights += [_reordered(half, order, gates) for half in b[d].chunk(2)]
    begun = [torch.zeros(directions, x.shape[1], hidden, dtype=x.dtype) if s is None else s for s in starts]
    back = direction == "reverse"
    state: Any = tuple(begun) if len(begun) > 1 else begun[0]
    y, *lasts = run(x.flip(0) if back else x, state, weights, b is not None, 1, 0.0, False, directions == 2, False)
    y = y.flip(0) if back else y
    return (y.reshape(x.shape[0], x.shape[1], directions, hidden).transpose(1, 2), *lasts)


@rule("RNN")
def rnn(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, lengths: Tensor | None = None, h: Tensor | None = None, *, activation_alpha: Any = None,
    activation_beta: Any = None, activations: Any = None, clip: float | None = None, direction: str = "forward", hidden_size: int = 0, layout: int = 0,
) -> tuple[Tensor, ...]:  # fmt: skip
    def cell(f: Any, weight: Tensor, bias: Tensor, d: int) -> Cell:
        return lambda gates, state: (f[0](_clipped(gates + F.linear(state[0], weight, bias), clip)),)

    return _layer(1, ["Tanh"], cell, 1, x, w, r, b, lengths, [h], direction, layout, activations, activation_alpha, activation_beta)


@rule("GRU")
def gru(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, lengths: Tensor | None = None, h: Tensor | None = None, *, activation_alpha: Any = None,
    activation_beta: Any = None, activations: Any = None, clip: float | None = None, direction: str = "forward", hidden_size: int = 0, layout: int = 0,
    linear_before_reset: int = 0, output_sequence: int = 0,
) -> tuple[Tensor, ...]:  # fmt: skip
    if linear_before_reset and lengths is None and clip is None and not layout and not activations:
        return _native(torch.gru, 3, [1, 0, 2], x, w, r, b, [h], direction)

    def cell(f: Any, weight: Tensor, bias: Tensor, d: int) -> Cell:
        n = weight.shape[-1]

        def step(gates: Tensor, state: State) -> State:
            (before,) = state
            both = f[0](_clipped(gates[:, : 2 * n] + F.linear(before, weight[: 2 * n], bias[: 2 * n]), clip))
            update, reset = both[:, :n], both[:, n:]
            inner = (
                reset * F.linear(before, weight[2 * n :], bias[2 * n :])
                if linear_before_reset
                else F.linear(reset * before, weight[2 * n :], bias[2 * n :])
            )
            new = f[1](_clipped(gates[:, 2 * n :] + inner, clip))
            return ((1 - update) * new + update * before,)

        return step

    return _layer(
        3, ["Sigmoid", "Tanh"], cell, 1, x, w, r, b, lengths, [h], direction, layout, activations, activation_alpha, activation_beta
    )


@rule("LSTM")
def lstm(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, lengths: Tensor | None = None, h: Tensor | None = None, c: Tensor | None = None,
    peepholes: Tensor | None = None, *, activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None, clip: float | None = None,
    direction: str = "forward", hidden_size: int = 0, input_forget: int = 0, layout: int = 0, output_sequence: int = 0,
) -> tuple[Tensor, ...]:  # fmt: skip
    if lengths is None and clip is None and peepholes is None and not layout and not activations and not input_forget:
        return _native(torch.lstm, 4, [0, 2, 3, 1], x, w, r, b, [h, c], direction)

    def cell(f: Any, weight: Tensor, bias: Tensor, d: int) -> Cell:
        n = weight.shape[-1]
        peep = torch.zeros(3 * n, dtype=x.dtype) if peepholes is None else peepholes[d]  # of the gates i, o, f

        def step(gates: Tensor, state: State) -> State:
            before, memory = state
            i, o, g, new = (gates + F.linear(before, weight, bias)).chunk(4, 1)  # g: the forget gate
            take = f[0](_clipped(i + peep[:n] * memory, clip))
            keep = 1 - take if input_forget else f[0](_clipped(g + peep[2 * n :] * memory, clip))
            memory = keep * memory + take * f[1](_clipped(new, clip))
            return f[0](_clipped(o + peep[n : 2 * n] * memory, clip)) * f[2](memory), memory

        return step

    default = ["Sigmoid", "Tanh", "Tanh"]
    return _layer(
        4, default, cell, 2, x, w, r, b, lengths, [h, c], direction, layout, activations, activation_alpha, activation_beta
    )


def _clipped(x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else torch.clamp(x, -limit, limit)
