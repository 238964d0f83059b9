"""Which nodes are distances between all rows of a matrix."""

from __future__ import annotations

from flambeau.core import dtypes
from flambeau.engine.cpu.specs import PairSpec
from flambeau.engine.natives import RESULT, Native


def _distances(node) -> Native | None:
    from flambeau.engine.cpu.pairs import pair_kernel  # LLVM is loaded with the first plan

    (x,) = node.inputs
    if len(x.shape) != 2 or x.dtype not in (dtypes.float32, dtypes.float64) or 0 in x.shape or 0 in node.shape:
        return None
    return Native(pair_kernel, PairSpec(x.dtype, node.attrs["p"], tuple(x.shape), tuple(x.strides)), (x, RESULT))


FORMS = {"aten.pdist": _distances}
"""How each op becomes a kernel, by name; see :mod:`flambeau.engine.natives`."""
