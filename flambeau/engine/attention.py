"""Which nodes are attention that one kernel computes."""

from __future__ import annotations

from functools import partial

from flambeau.core.size import contiguous_strides
from flambeau.engine.cpu.specs import KINDS
from flambeau.engine.natives import Native, Result


def _attention(part: str, node) -> Native | None:
    from flambeau.engine.cpu.attention import AttentionSpec, attention_kernel  # LLVM is loaded with the first plan

    refs = node.inputs
    q, k, v = refs[:3] if part == "forward" else refs[1:4]
    seen = [q, k, v] if part == "forward" else [q, k, v, refs[0]]
    dtype = q.dtype
    if dtype.name not in KINDS or any(r.dtype is not dtype or 0 in r.shape for r in refs):
        return None
    if any(r.strides[3] != 1 and r.shape[3] > 1 for r in seen):
        return None
    if any(r.strides != contiguous_strides(r.shape) for r in refs if r not in seen):
        return None
    strides = [r.strides[:3] for r in seen]
    if node.attrs["rows_first"] and part == "backward":
        batch, row, head = strides[3]
        strides[3] = (batch, head, row)
    batch, heads, queries, width = q.shape
    spec = AttentionSpec(
        part,
        dtype,
        batch,
        heads,
        queries,
        k.shape[2],
        width,
        v.shape[3],
        node.attrs["causal"],
        node.attrs["scale"],
        node.attrs["rows_first"],
        tuple(strides),
    )
    return Native(attention_kernel, spec, (*refs, *(Result(n) for n in range(len(node.shape)))))


FORMS = {"_attention": partial(_attention, "forward"), "_attention_grad": partial(_attention, "backward")}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""
