"""Recurrent layers in ONNX: all steps of a layer in one direction are one node of ``LSTM``, ``GRU`` or ``RNN``.

Rows lie behind each other as in a packed sequence, and gates in PyTorch's order; see :mod:`flambeau.ops.recurrent`.

Source: https://onnx.ai/onnx/operators/onnx__LSTM.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.onnx.sizes import times

_KINDS: dict[str, tuple[str, Sequence[int], dict[str, Any]]] = {
    "LSTM": ("LSTM", [0, 3, 1, 2], {}),
    "GRU": ("GRU", [1, 0, 2], {"linear_before_reset": 1}),
    "RNN_TANH": ("RNN", [0], {"activations": ["Tanh"]}),
    "RNN_RELU": ("RNN", [0], {"activations": ["Relu"]}),
}
"""By the mode of a layer: ONNX's operator, in which order it has the gates, and its settings."""


def recurrence(
    w: Any, input: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, bias: Any, hidden_bias: Any, mode: str, sizes: Sequence[int], reverse: bool
) -> tuple[Any, ...]:  # fmt: skip
    """Writes a layer; its states after each step, and of an LSTM its cells after the last step, in their place."""
    if len(set(sizes)) != 1:
        w.refuse("sequences of several lengths (pack_padded_sequence) are not written")
    if w_ih is None:
        w.refuse("a recurrent layer without weights of its input is not written")
    steps, batch, width = len(sizes), h.shape[0], h.shape[1]
    _check_uses(w, steps, reverse)
    kind, order, settings = _KINDS[mode]
    first = w.constant(np.array([0], np.int64))

    def sorted_gates(x: Any) -> Any:
        parts = w.op("Split", x, outputs=len(order), axis=0, num_outputs=len(order)) if len(order) > 1 else x
        return w.op("Concat", *[parts[k] for k in order], axis=0) if len(order) > 1 else x

    def leading(x: Any) -> Any:
        return "" if x is None else w.op("Unsqueeze", x, first)

    zeros = w.constant(np.zeros(len(order) * width), w.result.dtype)
    biases = [zeros if b is None else sorted_gates(b) for b in (bias, hidden_bias)]
    both = "" if bias is None and hidden_bias is None else leading(w.op("Concat", *biases, axis=0))
    rows = w.reshape(input, [steps, -1, input.shape[1]])
    given = [rows, leading(sorted_gates(w_ih)), leading(sorted_gates(w_hh)), both, "", leading(h)]
    states, *ends = w.op(
        kind, *given, *([leading(c)] if mode == "LSTM" else []), outputs=3 if mode == "LSTM" else 2, hidden_size=width,
        direction="reverse" if reverse else "forward", **settings,
    )  # fmt: skip
    outputs = w.reshape(states, [-1, width])
    if mode != "LSTM":
        return outputs, first, first
    others = w.size(times(batch, steps - 1))
    before = w.ints([0, 0, others, 0] if reverse else [others, 0, 0, 0])
    return outputs, w.op("Pad", w.reshape(ends[1], [-1, width]), before), first


def _check_uses(w: Any, steps: int, reverse: bool) -> None:
    """ONNX gives no gates, and cells after the last step alone."""
    for k, value in enumerate(w.node.outputs()):
        for use in value.uses() if k else ():
            arguments = [x.toIValue() for x in use.user.inputs()]
            cut = use.user.kind() == "aten::slice" and arguments[1] == 0
            start, end = arguments[2:4] if cut else (None, None)
            rows = value.type().sizes()[0]
            last = slice(0, rows // steps) if reverse else slice(rows - rows // steps, rows)
            if not (k == 1 and _inside(start, end, last, rows)):
                w.refuse("what happens inside of a recurrent layer is not written")


def _inside(start: Any, end: Any, part: slice, rows: int) -> bool:
    """Whether ``x[start:end]`` lies in a part of so many rows."""
    start, end, _ = slice(start, end).indices(rows)
    return part.start <= start and end <= part.stop
