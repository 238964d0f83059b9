"""Which nodes are recurrent layers that one kernel computes: those over sequences of one length."""

from __future__ import annotations

from functools import partial

from flambeau.core.size import contiguous_strides
from flambeau.engine.cpu.specs import KINDS, RecurrentSpec
from flambeau.engine.grouping import Ref
from flambeau.engine.natives import Native, Result


def _layer(part: str, node) -> Native | None:
    from flambeau.engine.cpu.recurrent import recurrent_kernel  # LLVM is loaded with the first plan

    refs = [r for r in node.inputs if isinstance(r, Ref)]
    runs, dtype = node.attrs["sizes"], refs[0].dtype
    if len(runs) > 1 or not runs[0][1] or dtype.name not in KINDS or any(0 in r.shape[1:] for r in refs):
        return None
    given = node.inputs[:3] if part == "backward" else (None,) * 3
    if any(r.dtype is not dtype or (r not in given and r.strides != contiguous_strides(r.shape)) for r in refs):
        return None
    if any(r is not None and r.strides[-1] != 1 for r in given):
        return None
    if part == "forward":
        x, first, *_, bias, hidden_bias = node.inputs
        if hidden_bias is not None and node.attrs["mode"] != "GRU":  # the others have one bias
            return None
        features, biases = x.shape[1], (bias is not None, hidden_bias is not None)
    else:
        first, w_ih = node.inputs[6], node.inputs[8]
        features, biases = 0 if w_ih is None else w_ih.shape[1], (False, False)
    mode, reverse = node.attrs["mode"], node.attrs["reverse"]
    g, ginner, ggates = (None if r is None else r.strides[0] for r in given)
    spec = RecurrentSpec(part, mode, dtype, runs[0][0], runs[0][1], features, first.shape[1], reverse, biases, (g, ginner, ggates))
    results = tuple(Result(k) for k in range(len(node.shape)))
    return Native(recurrent_kernel, spec, (*refs, *results))


FORMS = {"_recurrence": partial(_layer, "forward"), "_recurrence_grad": partial(_layer, "backward")}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""
