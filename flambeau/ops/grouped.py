"""Products of groups of rows with matrices of their own, as mixtures of experts need them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.ops.joining import cat, stack
from flambeau.ops.record import ErrorSample, Sample, composite

if TYPE_CHECKING:
    from flambeau.core.dtypes import dtype
    from flambeau.tensor.types import Tensor

_DTYPES = (dtypes.float64, dtypes.float32, dtypes.bfloat16, dtypes.float16)


def _ends(*values):
    return dispatch.wrap(np.array(values, np.int32), dtypes.int32)


def _refuse(mat_a, mat_b, offs, bias, out_dtype) -> None:
    for name, x in (("mat_a", mat_a), ("mat_b", mat_b)):
        if x.dim() not in (2, 3):
            raise RuntimeError(f"{name} has to be 2 or 3d")
        if x.dtype not in _DTYPES:
            raise RuntimeError(f"Expected {name} to be Float32, BFloat16 or Float16 matrix, got {dtypes.scalar_name(x.dtype)}")
    if mat_a.shape[-1] != mat_b.shape[-2]:
        raise RuntimeError("contraction dimension of mat_a and mat_b must match")
    if (offs is None) != (mat_a.dim() == mat_b.dim() == 3):
        raise RuntimeError("Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d")
    if offs is not None and offs.dtype is not dtypes.int32:
        raise RuntimeError("Offsets have to be int32")
    groups = {x.shape[0] for x in (mat_a, mat_b) if x.dim() == 3} | ({offs.shape[0]} if offs is not None else set())
    if len(groups) > 1:
        raise RuntimeError("matrix batch sizes have to match")
    if bias is not None:
        raise RuntimeError("Bias not supported yet")
    if out_dtype is not None and out_dtype is not mat_a.dtype:
        raise RuntimeError("Grouped gemm output dtype must match `mat_a` dtype")


@composite(
    name="nn.functional.grouped_mm",
    samples=lambda make: [
        Sample(make(5, 3), make(2, 3, 4), offs=_ends(2, 5)),
        Sample(make(2, 3, 4), make(4, 5), offs=_ends(0, 5)),
        Sample(make(3, 5), make(5, 2), offs=_ends(2, 5)),
        Sample(make(2, 3, 4), make(2, 4, 5)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "Have to provide offsets", make(5, 3), make(2, 3, 4)),
        ErrorSample(RuntimeError, "contraction dimension", make(2, 3, 4), make(2, 5, 4)),
        ErrorSample(RuntimeError, "matrix batch sizes have to match", make(5, 3), make(2, 3, 4), offs=_ends(5)),
    ],
)
def grouped_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    *,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: dtype | None = None,
) -> Tensor:
    """A product for each group, of which ``offs`` says where they end in the dim that a 2-d operand has them in.

    A 2-d ``mat_a`` and a 3-d ``mat_b``: groups of rows, each with its matrix. 3-d and 2-d: each matrix with its columns. Both 2-d:
    groups of the dim that is summed over, so that the result is 3-d. Both 3-d: :func:`torch.bmm`. What is behind the last end
    gives zeros.

    Raises ``RuntimeError`` for shapes that do not fit.

    >>> import flambeau as torch
    >>> tokens, experts = torch.ones(3, 2), torch.stack([torch.eye(2), torch.eye(2) * 5])
    >>> torch.nn.functional.grouped_mm(tokens, experts, offs=torch.tensor([1, 3], dtype=torch.int32))
    tensor([[1., 1.],
            [5., 5.],
            [5., 5.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grouped_mm.html
    """
    _refuse(mat_a, mat_b, offs, bias, out_dtype)
    if offs is None:
        return mat_a.bmm(mat_b)
    split = mat_a.shape[-1 if mat_b.dim() == 2 else 0] if mat_a.dim() == 2 else mat_b.shape[-1]
    on_meta = offs.device.type == "meta"
    if offs._opaque and not on_meta:
        raise RuntimeError("vmap: we do not yet support grouped_mm where groups end elsewhere for each sample")
    ends = [split] * offs.shape[0] if on_meta else offs.tolist()  # any do for shapes
    spans = list(enumerate(itertools.pairwise([0, *ends])))
    if mat_a.dim() == mat_b.dim():
        return stack([mat_a[:, a:b] @ mat_b[a:b] for _, (a, b) in spans])
    if mat_a.dim() == 2:
        rest = mat_a.new_zeros((mat_a.shape[0] - ends[-1], mat_b.shape[-1]))
        return cat([*[mat_a[a:b] @ mat_b[i] for i, (a, b) in spans], rest])
    rest = mat_a.new_zeros((mat_a.shape[1], mat_b.shape[-1] - ends[-1]))
    return cat([*[mat_a[i] @ mat_b[:, a:b] for i, (a, b) in spans], rest], 1)
