"""Which calls may write to memory that they read, or that they write to more than once.

PyTorch runs its kernels right on the memory, and refuses what would then depend on the order in which elements are
written. Here results are computed before they are written, but programs must not come to rely on that.

Source: https://docs.pytorch.org/docs/stable/tensor_view.html, and PyTorch's errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flambeau import dispatch
from flambeau.core.size import contiguous_strides, may_overlap
from flambeau.ops.indexing import index
from flambeau.ops.ranges import arange
from flambeau.ops.record import Op
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor

APART = frozenset(
    "index_add index_copy index_put index_reduce scatter scatter_add scatter_reduce put gather index_select take masked_select cat "
    "concat concatenate stack".split()
)
"""Ops that move elements from place to place: what they write to may share no memory with what they read."""
IN_ORDER = frozenset("copy_ where div divide ldexp float_power square selu celu cumsum cumprod max min cross".split())
"""Ops that are like elementwise ones here: an argument may be exactly what is written to, but not another part of it."""
PARTLY = frozenset(
    "index_add index_copy index_fill index_put index_reduce scatter scatter_add scatter_reduce put masked_fill masked_scatter".split()
)
"""Ops that write to some elements and leave the others alone."""
SAME_EVERYWHERE = frozenset(["fill", "threshold", "zero"])
"""Ops that write the same however often they come to a place in memory, so that it does not matter if some elements are one place.
"""


def shows_twice(t: Tensor) -> bool:
    """Whether a tensor may show some memory more than once, as windows that overlap do."""
    return t._strides is not None and t._storage.__class__ is Storage and may_overlap(t._shape, t._strides)


def in_memory(windows: Tensor, indices: Sequence[Tensor | None]) -> tuple[Tensor, tuple[Tensor]]:
    """The memory under windows that overlap, as a row, and where in it the elements at ``indices`` of the windows lie.

    What is written there comes to the memory itself, in the order of the indices, so that of two elements in one place the last one
    stays and what is added counts twice.
    """
    storage = windows._storage
    n = storage.size * storage.node.dtype.itemsize // windows._dtype.itemsize
    geometry = windows._shape, windows._strides, windows._offset
    return windows.as_strided((n,), (1,), 0), (index(arange(n).as_strided(*geometry), indices),)


def refuse_overlap(op: Op, written: Tensor, arguments: Iterable) -> None:
    """Raises PyTorch's ``RuntimeError`` where ``op`` reads memory that it writes to, and PyTorch minds."""
    storage = written._storage
    for x in arguments:
        if x.__class__ is tuple or x.__class__ is list:
            refuse_overlap(op, written, x)
        elif isinstance(x, Tensor) and x._storage is storage:
            name = op.short_name
            apart = name in APART
            if not apart and (x is written or op.form != "pointwise" and name not in IN_ORDER):
                continue
            if _overlap(written, x, apart):
                raise RuntimeError(
                    "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory "
                    "location. Please clone() the tensor before performing the operation."
                )


def _overlap(a: Tensor, b: Tensor, exactly: bool) -> bool:
    """Whether tensors without gaps share memory; being the same elements counts where ``exactly``."""
    if not (_is_dense(a) and _is_dense(b)):
        return False
    (a_start, a_end), (b_start, b_end) = _extent(a), _extent(b)
    if (a_start, a_end) == (b_start, b_end):
        return exactly or a.stride() != b.stride()
    return a_start < b_end and b_start < a_end


def _extent(t: Tensor) -> tuple[int, int]:
    """The bytes of a tensor without gaps, counted from where its storage begins."""
    start = t._offset * t._dtype.itemsize
    return start, start + t._shape.numel() * t._dtype.itemsize


def _is_dense(t: Tensor) -> bool:
    """Whether a tensor's elements fill a run of memory, each place once."""
    if t._strides is None:
        return 0 not in t._shape
    dims = sorted((s, n) for s, n in zip(t._strides, t._shape, strict=True) if n != 1)
    return 0 not in t._shape and tuple([s for s, _ in dims[::-1]]) == contiguous_strides(tuple([n for _, n in dims[::-1]]))


def refuse_repeated(written: Tensor) -> None:
    """Raises PyTorch's ``RuntimeError`` for a tensor that shows some memory more than once, as ``expand`` makes it."""
    if written._strides is not None and 0 in written._strides and 0 not in written._shape:
        if any(n > 1 and s == 0 for n, s in zip(written._shape, written._strides, strict=True)):
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
                "Please clone() the tensor before performing the operation."
            )


def refuse_out(op: Op, out, arguments: tuple) -> None:
    """Raises PyTorch's ``RuntimeError`` where what is given as ``out=`` shares memory with an argument in another way."""
    for written in out if isinstance(out, (tuple, list)) else (out,):
        if isinstance(written, Tensor):
            refuse_overlap(op, written, arguments)


dispatch.refuse_out = refuse_out
dispatch.refuse_overlap = refuse_overlap
