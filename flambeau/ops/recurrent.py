"""Recurrent layers over whole sequences: all steps of one layer, in one direction, are one op.

Rows lie as in a packed sequence: those of the first step, then those of the second, and so on; ``sizes`` says how
many sequences run at each step, the longest first.

The formulas stand here once, for arrays and for tensors. The gradient is an op of its own; where it is to be
differentiated in turn (``create_graph=True``), the same formulas are recorded in tensors, step by step.

Sources: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9, 1997; Cho et al., "Learning phrase
representations using RNN encoder-decoder", 2014; https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html for
the place of GRU's second bias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.ops.elementary import sigmoid
from flambeau.ops.joining import cat
from flambeau.ops.record import Sample, op
from flambeau.ops.rectifiers import relu
from flambeau.ops.trigonometric import tanh

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


class _Arrays:
    """What the formulas need, for NumPy."""

    tanh = np.tanh
    sigmoid = staticmethod(sigmoid.op.kernel)
    cat = np.concatenate

    @staticmethod
    def relu(x):
        return np.maximum(x, 0)

    @staticmethod
    def zeros(like):
        return np.zeros_like(like)

    @staticmethod
    def take(x, index):
        return x[index]

    @staticmethod
    def split(x, n):
        width = x.shape[-1] // n
        return [x[:, k * width : (k + 1) * width] for k in range(n)]


class _Tensors:
    """What the formulas need, for tensors."""

    tanh, sigmoid, relu = staticmethod(tanh), staticmethod(sigmoid), staticmethod(relu)
    cat = staticmethod(cat)

    @staticmethod
    def zeros(like):
        return like.new_zeros(like._shape)

    @staticmethod
    def take(x, index):
        return x.index_select(0, dispatch.wrap(index, dtypes.int64))

    @staticmethod
    def split(x, n):
        return x.chunk(n, -1)


# --- one step of each kind of cell ---------------------------------------------------------------------------
# ``step`` gives the new state, an inner value and the gates that are kept, ``back`` the gradients of the input's share and of the
# state's share of the gates, of the state before, as far as it has a part beside the gates, and of the cell before.


def _lstm_step(f, x, product, h, c):
    enter, forget, new, leave = f.split(x + product, 4)
    enter, forget, new, leave = f.sigmoid(enter), f.sigmoid(forget), f.tanh(new), f.sigmoid(leave)
    c = forget * c + enter * new
    return leave * f.tanh(c), c, (enter, forget, new, leave)


def _lstm_back(f, dh, dc, dgates, h, c, gates, h0, c0):
    enter, forget, new, leave = f.split(gates, 4)
    shown = f.tanh(c)
    dc = dc + dh * leave * (1 - shown * shown)
    slopes = [dc * new, dc * c0, dc * enter, dh * shown]
    if dgates is not None:
        slopes = [a + b for a, b in zip(slopes, f.split(dgates, 4), strict=True)]
    enter_, forget_, new_, leave_ = slopes
    d = f.cat(
        (
            enter_ * enter * (1 - enter),
            forget_ * forget * (1 - forget),
            new_ * (1 - new * new),
            leave_ * leave * (1 - leave),
        ),
        -1,
    )
    return d, d, None, dc * forget


def _gru_step(f, x, product, h, c):
    x_reset, x_update, x_new = f.split(x, 3)
    reset, update, inner = f.split(product, 3)
    reset, update = f.sigmoid(reset + x_reset), f.sigmoid(update + x_update)
    new = f.tanh(x_new + inner * reset)
    return (h - new) * update + new, inner, (reset, update, new)


def _gru_back(f, dh, dinner, dgates, h, inner, gates, h0, c0):
    reset, update, new = f.split(gates, 3)
    new_, update_ = dh * (1 - update), dh * (h0 - new)
    if dgates is not None:
        reset_g, update_g, new_g = f.split(dgates, 3)
        new_, update_ = new_ + new_g, update_ + update_g
    dnew = new_ * (1 - new * new)
    reset_, dproduct = dnew * inner, dnew * reset
    if dgates is not None:
        reset_ = reset_ + reset_g
    if dinner is not None:
        dproduct = dproduct + dinner
    dreset, dupdate = reset_ * reset * (1 - reset), update_ * update * (1 - update)
    return f.cat((dreset, dupdate, dnew), -1), f.cat((dreset, dupdate, dproduct), -1), dh * update, None


def _tanh_step(f, x, product, h, c):
    return f.tanh(x + product), None, None


def _tanh_back(f, dh, dinner, dgates, h, inner, gates, h0, c0):
    d = dh * (1 - h * h)
    return d, d, None, None


def _relu_step(f, x, product, h, c):
    return f.relu(x + product), None, None


def _relu_back(f, dh, dinner, dgates, h, inner, gates, h0, c0):
    d = dh * (h > 0)
    return d, d, None, None


class Cell(NamedTuple):
    """A kind of cell: how many gates it has, how many of them are kept, whether it has an inner value; its formulas."""

    gates: int
    kept: int
    inner: bool
    step: Callable
    back: Callable


CELLS = {
    "LSTM": Cell(4, 4, True, _lstm_step, _lstm_back),
    "GRU": Cell(3, 3, True, _gru_step, _gru_back),
    "RNN_TANH": Cell(1, 0, False, _tanh_step, _tanh_back),
    "RNN_RELU": Cell(1, 0, False, _relu_step, _relu_back),
}
"""An LSTM's inner value is its cell, a GRU's the state's share of the new gate before it is reset."""


def step(mode: str, x, product, h, c=None) -> tuple:
    """The state after one step of a cell, in tensors: ``x`` and ``product`` are the input's and the state's share."""
    h, inner, _ = CELLS[mode].step(_Tensors, x, product, h, c)
    return (h, inner) if mode == "LSTM" else (h,)


# --- sequences -----------------------------------------------------------------------------------------------


Runs = tuple[tuple[int, int], ...]
"""How many rows the steps have: (how many steps follow each other, rows of each). So it is of one form for layers of any length."""


def runs_of(sizes: Sequence[int]) -> Runs:
    """The rows of each step, as runs of steps that have as many."""
    return tuple([(len(list(steps)), n) for n, steps in groupby(sizes)])


def _walk(runs: Runs, reverse: bool) -> list[tuple[int, int]]:
    """Where the rows of each step begin and how many there are, in the order in which the steps run."""
    found, start = [], 0
    for steps, n in runs:
        found += [(start + k * n, n) for k in range(steps)]
        start += steps * n
    return found[::-1] if reverse else found


def _resized(f, state, first, n: int):
    """The state of ``n`` sequences: some have ended, or begin now."""
    have = state.shape[0]
    if have == n:
        return state
    return state[:n] if have > n else f.cat((state, first[have:n]))


def previous(f, values, first, runs: Runs, reverse: bool):
    """For each row of ``values`` that of the step that ran before it, or that of ``first``."""
    steps, batch = runs[0]
    if len(runs) == 1:
        parts = (values[batch:], first) if reverse else (first, values[: values.shape[0] - batch])
        return f.cat(parts) if steps > 1 else first
    index, before = [], np.arange(batch)
    for start, n in _walk(runs, reverse):
        if len(before) < n:
            before = np.concatenate((before, np.arange(len(before), n)))
        index.append(before[:n])
        before = np.arange(batch + start, batch + start + n)
    return f.take(f.cat((first, values)), np.concatenate(index[::-1] if reverse else index))


def last(values, sizes: Sequence[int], reverse: bool):
    """The rows of each sequence's last step; ``sizes`` are how many each step has."""
    runs = runs_of(sizes)
    batch = runs[0][1]
    if reverse:
        return values[:batch]
    if len(runs) == 1:
        return values[values.shape[0] - batch :]
    ends = np.zeros(batch, np.int64)
    for start, n in _walk(runs, False):
        ends[:n] = np.arange(start, start + n)
    return _Tensors.take(values, ends)


def _forward(input, h0, c0, w_ih, w_hh, bias, hidden_bias, mode, sizes, reverse):
    cell, f = CELLS[mode], _Arrays
    x = input @ w_ih.T if bias is None else input @ w_ih.T + bias
    rows, width = x.shape[0], h0.shape[1]
    outputs = np.empty((rows, width), x.dtype)
    inner = np.empty((rows, width) if cell.inner else 0, x.dtype)
    gates = np.empty((rows, cell.kept * width) if cell.kept else 0, x.dtype)
    steps = _walk(sizes, reverse)
    h, c = h0[: steps[0][1]], c0 if c0 is None else c0[: steps[0][1]]
    for start, n in steps:
        h = _resized(f, h, h0, n)
        if c0 is not None:
            c = _resized(f, c, c0, n)
        product = h @ w_hh.T
        if hidden_bias is not None:
            product += hidden_bias
        here = slice(start, start + n)
        h, value, kept = cell.step(f, x[here], product, h, c)
        outputs[here] = h
        if cell.inner:
            inner[here], gates[here] = value, f.cat(kept, -1)
        if c0 is not None:
            c = value
    return outputs, inner, gates


def _gradient(f, g, ginner, ggates, outputs, inner, gates, h0, c0, w_ih, w_hh, mode, sizes, reverse) -> tuple:
    """The gradients of the input's share and of the state's share of the gates, of the input, and of the first state."""
    cell = CELLS[mode]
    before_h = previous(f, outputs, h0, sizes, reverse)
    before_c = None if c0 is None else previous(f, inner, c0, sizes, reverse)
    dx: list = []
    dproduct: list = []
    carried: list[Any] = [first if first is None else f.zeros(first[:0]) for first in (h0, c0)]
    joined: tuple[list, list] = ([], [])  # what belongs to sequences that began later than others

    def at(values):
        return None if values is None or values.ndim < 2 else values[here]  # what a kind of cell does not have is empty

    for start, n in reversed(_walk(sizes, reverse)):
        here = slice(start, start + n)
        for k, first in enumerate((h0, c0)):
            if first is not None and carried[k].shape[0] > n:
                joined[k].append(carried[k][n:])
            if first is not None:
                carried[k] = _resized(f, carried[k], f.zeros(first), n)
        dh, dc = carried
        if g is not None:
            dh = dh + g[here]
        if ginner is not None:
            dc = ginner[here] if dc is None else dc + ginner[here]
        states = (outputs[here], at(inner), at(gates), before_h[here], at(before_c))
        x, product, own, dc = cell.back(f, dh, dc, at(ggates), *states)
        dh = product @ w_hh
        carried = [dh if own is None else dh + own, dc]
        dx.append(x)
        dproduct.append(product)
    if not reverse:
        dx.reverse()
        dproduct.reverse()
    first = [c if c is None else f.cat((c, *reversed(more))) for c, more in zip(carried, joined, strict=True)]
    shares = f.cat(dx)
    dinput = None if w_ih is None else shares @ w_ih
    return shares, f.cat(dproduct) if mode == "GRU" else None, dinput, *first


def _gradient_kernel(*values, **attrs):
    found = _gradient(_Arrays, *values, **attrs)
    return tuple([np.empty(0, found[0].dtype) if v is None else v for v in found])


@op(
    name="_recurrence_grad",
    tensors="g ginner ggates outputs inner gates h c w_ih w_hh",
    kernel=_gradient_kernel,
    outputs=("x", "product", "input", "first", "first_cell"),
    method=False,
)
def _recurrence_grad(
    g: Tensor,
    ginner: Tensor,
    ggates: Tensor,
    outputs: Tensor,
    inner: Tensor,
    gates: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    mode,
    sizes: int | Sequence[int],
    reverse,
):
    """The gradients that ``_recurrence`` needs: of the input's share of the gates and, of a GRU, of the state's; of the
    input, where ``w_ih`` is given; of the states."""
    rows = outputs._shape[0]
    wide = (rows, w_hh._shape[0])
    dinput = (0,) if w_ih is None else (rows, w_ih._shape[1])
    shapes = (wide, wide if mode == "GRU" else (0,), dinput, tuple(h._shape), (0,) if c is None else tuple(c._shape))
    inputs = (g, ginner, ggates, outputs, inner, gates, h, c, w_ih, w_hh)
    return shapes, (outputs._dtype,) * 5, inputs, {"mode": mode, "sizes": sizes, "reverse": reverse}


def _recurrence_gradient(gs, needs, input, h, c, w_ih, w_hh, outputs, inner, gates, mode, sizes, reverse):
    gs = [g if g is None or g.stride()[-1] == 1 else g.contiguous() for g in gs]
    values: tuple[Any, ...] = (*gs, outputs, inner, gates, h, c, w_ih if needs[0] else None, w_hh, mode, sizes, reverse)
    formula = partial(_gradient, _Tensors) if dispatch.grad_mode.enabled else _recurrence_grad
    dx, product, dinput, dh, dc = formula(*values)
    product = product if mode == "GRU" else dx
    return (
        dinput if needs[0] else None,
        dh,
        dc if needs[2] else None,
        dx.t() @ input if needs[3] else None,
        product.t() @ previous(_Tensors, outputs, h, sizes, reverse) if needs[4] else None,
        dx.sum(0) if needs[5] else None,
        product.sum(0) if needs[6] else None,
    )


def _samples(make):
    def sample(mode: str, sizes: tuple[int, ...], reverse: bool) -> Sample:
        cell, rows = CELLS[mode], sum(sizes)
        c = make(sizes[0], 2) if mode == "LSTM" else None
        many = cell.gates * 2
        hidden_bias = make(many) if mode == "GRU" else None
        values = (make(rows, 3), make(sizes[0], 2), c, make(many, 3), make(many, 2), make(many), hidden_bias)
        return Sample(*values, mode, sizes, reverse)

    return [sample(mode, sizes, reverse) for mode in CELLS for sizes in ((2, 2), (3, 1)) for reverse in (False, True)]


@op(
    name="_recurrence",
    tensors="input h c w_ih w_hh bias hidden_bias",
    kernel=_forward,
    grad={"*": _recurrence_gradient},
    outputs=("outputs", "inner", "gates"),
    overload=lambda inputs, attrs: "MkldnnRnnLayerBackward0" if attrs["mode"] == "LSTM" else 0,
    method=False,
    samples=_samples,
)
def recurrence(
    input: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    bias: Tensor,
    hidden_bias: Tensor,
    mode,
    sizes: Sequence[int],
    reverse,
):
    """All steps of a layer in one direction.

    ``input`` is (rows, features); ``h`` and, of an LSTM, ``c`` (batch, width) are the first state; ``w_ih``
    (gates * width, features) and ``bias`` make the input's share of the gates, ``w_hh`` (gates * width, width) and
    ``hidden_bias``, which only a GRU has, the state's. Gives the states after each step, the inner values and the gates;
    the last two are there for the gradient.
    """
    cell = CELLS[mode]
    rows, width = input._shape[0], h._shape[1]
    shapes = ((rows, width), (rows, width) if cell.inner else (0,), (rows, cell.kept * width) if cell.kept else (0,))
    inputs = (input, h, c, w_ih, w_hh, bias, hidden_bias)
    return shapes, (input._dtype,) * 3, inputs, {"mode": mode, "sizes": runs_of(sizes), "reverse": reverse}
