"""Affine and bilinear maps of the last dim: what ``nn.Linear`` and ``nn.Bilinear`` compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau import dispatch
from flambeau.ops.matmul import addmm, as_rows, bmm, mm
from flambeau.ops.product_helpers import require_tensors, sizes
from flambeau.ops.record import ErrorSample, Sample, composite

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


@composite(
    name="nn.functional.linear",
    out="same",
    samples=lambda make: [
        Sample(make(2, 3), make(4, 3), make(4)),
        Sample(make(2, 3), make(4, 3)),
        Sample(make(2, 2, 3), make(4, 3), make(4)),
        Sample(make(3), make(4, 3), make(4)),
        Sample(make(2, 3), make(3)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x5\)", make(2, 3), make(5, 4), make(5)),
    ],
)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""An affine map of the last dim: :math:`y = x A^T + b`.

    ``input`` is ``(*, in_features)``, ``weight`` ``(out_features, in_features)`` and ``bias`` ``(out_features)``; the
    result is ``(*, out_features)``. A one-dimensional ``weight`` gives ``(*)``.

    Raises ``RuntimeError`` for shapes that do not fit; the message says what ``in_features`` should be.

    >>> import flambeau as torch
    >>> torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3), torch.ones(4)).shape
    torch.Size([2, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.linear.html
    """
    if not (isinstance(input, dispatch.Tensor) and isinstance(weight, dispatch.Tensor)):
        require_tensors("linear", input=input, weight=weight)
    shape = weight._shape
    if len(shape) == 1:
        product = input.matmul(weight)
        return product if bias is None else product + bias
    if len(shape) != 2:
        raise RuntimeError(f"linear(): weight must be (out_features, in_features), got shape {list(shape)}")
    dims = len(input._shape)
    if dims == 0:
        raise RuntimeError("both arguments to linear need to be at least 1D, but they are 0D and 2D")
    rows = input if dims == 2 else as_rows(input)
    if rows._shape[1] != shape[1]:
        n, m = shape
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({sizes(rows)} and {m}x{n}): the layer's weight, {n}x{m}, takes "
            f"inputs whose last dim is in_features={m}, but the input has shape {list(input.shape)}, whose last dim is "
            f"{rows.shape[1]}"
        )
    result = mm(rows, weight.t()) if bias is None else addmm(bias, rows, weight.t())
    return result if dims == 2 else result.reshape(input._shape[:-1] + shape[:1])


@composite(
    name="nn.functional.bilinear",
    aliases=("bilinear",),
    samples=lambda make: [
        Sample(make(2, 3), make(2, 2), make(4, 3, 2), make(4)),
        Sample(make(2, 2, 3), make(2, 2, 2), make(4, 3, 2)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "input1 size does not match weight size", make(2, 3), make(2, 2), make(4, 4, 2)),
    ],
)
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""A bilinear map of the last dims: :math:`y_o = x_1^T A_o x_2 + b_o`.

    ``input1`` is ``(*, in1)``, ``input2`` ``(*, in2)``, ``weight`` ``(out, in1, in2)``, ``bias`` ``(out)``; the result
    is ``(*, out)``.

    Raises ``RuntimeError`` for sizes that do not fit.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.bilinear(torch.tensor([1.0, 2.0]), torch.tensor([3.0]), torch.ones(1, 2, 1))
    tensor([9.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.bilinear.html
    """
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            "bilinear(): input batch dimensions do not match: "
            f"got {list(input1.shape)} and {list(input2.shape)}, which must agree in all dims but the last"
        )
    for i, x in enumerate((input1, input2), 1):
        if x.shape[-1] != weight.shape[i]:
            raise RuntimeError(
                f"bilinear(): input{i} size does not match weight size: got {x.shape[-1]} but expected {weight.shape[i]}"
            )
    out, n, m = weight.shape
    # (rows, in1) @ (in1, out * in2), then each row's (out, in2) @ (in2, 1).
    partial = mm(as_rows(input1), weight.transpose(0, 1).reshape((n, out * m)))
    result = bmm(partial.reshape((partial.shape[0], out, m)), as_rows(input2).unsqueeze(2)).reshape((*input1.shape[:-1], out))
    return result if bias is None else result + bias
