"""``torch.nested``: batches of tensors of different sizes in one dim.

Tensors of the older layout, ``torch.strided``, which is the default, print as in PyTorch and may meet others with the same
lengths; here they too differ in one dim only.

>>> import flambeau as torch
>>> batch = torch.nested.nested_tensor([torch.arange(2.0), torch.arange(3.0)], layout=torch.jagged)
>>> (batch * 2).values()
tensor([0., 2., 0., 2., 4.])
>>> batch.to_padded_tensor(-1.0)
tensor([[ 0.,  1., -1.],
        [ 0.,  1.,  2.]])

Source: https://docs.pytorch.org/docs/stable/nested.html
"""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.core.memory_format import jagged, strided
from flambeau.nested.rules import padded
from flambeau.nested.tensor import NestedTensor, _Ragged, nested, of_parts
from flambeau.tensor.tensor import Tensor

__all__ = ["as_nested_tensor", "masked_select", "narrow", "nested_tensor", "nested_tensor_from_jagged", "to_padded_tensor"]


def _ragged_dim(parts: list[Tensor]) -> int:
    """The dim that parts differ in, counted with the batch; the first where they do not."""
    if not parts:
        raise RuntimeError("Cannot construct a nested tensor from an empty tensor list")
    if len({part.dim() for part in parts}) > 1:
        i, other = next((i, part) for i, part in enumerate(parts) if part.dim() != parts[0].dim())
        raise RuntimeError(
            f"All Tensors given to nested_tensor must have the same dimension. Found dimension {other.dim()} for Tensor at index {i} and "
            f"dimension {parts[0].dim()} for Tensor at index 0."
        )
    if not parts[0].dim():
        raise RuntimeError("Cannot construct a nested tensor of tensors without dims")
    differ = [d for d, sizes in enumerate(zip(*[part.shape for part in parts], strict=True)) if len(set(sizes)) > 1]
    if len(differ) > 1:
        raise RuntimeError(
            "Cannot represent given tensor list as a nested tensor with the jagged layout. Note that the jagged layout only allows for a single "
            "ragged dimension. For example: (B, *, D_0, D_1, ..., D_N), with ragged * dim."
        )
    return differ[0] + 1 if differ else 1


def _check_layout(layout: Any) -> None:
    if layout not in (None, jagged, strided):
        raise RuntimeError(f"Specified layout is unsupported for nested tensors: {layout}")


def nested_tensor(
    tensor_list: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A nested tensor with copies of the tensors of a list, which is a leaf.

    >>> import flambeau as torch
    >>> a, b = torch.ones(2, 3), torch.ones(4, 3)
    >>> [part.shape for part in torch.nested.nested_tensor([a, b], layout=torch.jagged)]
    [torch.Size([2, 3]), torch.Size([4, 3])]

    Source: https://docs.pytorch.org/docs/stable/nested.html#torch.nested.nested_tensor
    """
    _check_layout(layout)
    if not isinstance(tensor_list, (list, tuple)):
        raise TypeError("Only lists (List[Tensor] and List[List...[Scalar]]) are accepted in nested_tensor")
    parts = [t.detach() if isinstance(t, Tensor) else flambeau.tensor(t) for t in tensor_list]
    if dtype is None and parts:
        dtype = parts[0].dtype  # the others are converted to it, where they are batched without the jagged layout
        if layout is jagged and any(part.dtype is not dtype for part in parts):
            raise RuntimeError("When constructing a nested tensor, all tensors in list must have the same dtype")
    parts = [part.to(dtype) for part in parts]
    made = (
        of_parts(parts, _ragged_dim(parts), layout or strided)
        if parts or layout is jagged
        else nested(flambeau.zeros(0), _Ragged(flambeau.tensor([0]), None, strided))
    )
    return made.requires_grad_() if requires_grad else made


def as_nested_tensor(ts: Any, dtype: Any = None, device: Any = None, layout: Any = None) -> Tensor:
    """A nested tensor of the tensors of a list, or of a batch: gradients flow to them."""
    _check_layout(layout)
    if isinstance(ts, NestedTensor):
        return ts if dtype is None else ts.to(dtype)  # type: ignore[no-any-return]
    if isinstance(ts, Tensor):
        if ts.dim() < 2:
            raise RuntimeError("as_nested_tensor(): Expected tensor argument to have dim() >= 2")
        bounds = flambeau.arange(ts.shape[0] + 1) * ts.shape[1]
        flat = ts.reshape(-1, *ts.shape[2:])
        return nested(flat if dtype is None else flat.to(dtype), _Ragged(bounds, None, layout or strided))
    if not isinstance(ts, (list, tuple)):
        raise TypeError("as_nested_tensor(): Expected first argument to be a tensor or a list / tuple of tensors")
    parts = [t if dtype is None else t.to(dtype) for t in ts]
    return of_parts(parts, _ragged_dim(parts), layout or strided)


def to_padded_tensor(input: Any, padding: float, output_size: Any = None, out: Any = None) -> Tensor:
    """The parts in one dense tensor, with ``padding`` behind the shorter ones.

    >>> import flambeau as torch
    >>> batch = torch.nested.nested_tensor([torch.ones(1, 2), torch.ones(2, 2)], layout=torch.jagged)
    >>> torch.nested.to_padded_tensor(batch, 0.0)
    tensor([[[1., 1.],
             [0., 0.]],
    <BLANKLINE>
            [[1., 1.],
             [1., 1.]]])
    """
    return padded(input, padding, output_size)


def nested_tensor_from_jagged(
    values: Tensor, offsets: Tensor | None = None, lengths: Tensor | None = None, jagged_dim: int | None = None, min_seqlen: int | None = None,
    max_seqlen: int | None = None,
) -> Tensor:  # fmt: skip
    """A nested tensor of its parts one after the other; gradients flow to ``values``.

    Args:
        offsets: where each part begins, and where the last ends.
        lengths: how long the parts are; with ``offsets``, there may be something between them.

    >>> import flambeau as torch
    >>> torch.nested.nested_tensor_from_jagged(torch.arange(5), torch.tensor([0, 2, 5])).unbind()
    (tensor([0, 1]), tensor([2, 3, 4]))
    """
    if offsets is None:
        if lengths is None:
            raise RuntimeError("nested_tensor_from_jagged(): At least one of offsets or lengths is required.")
        offsets, lengths = flambeau.cat([lengths.new_zeros(1), lengths.cumsum(0)]), None
    return nested(values, _Ragged(offsets, lengths), 1 if jagged_dim is None else jagged_dim)


def narrow(tensor: Tensor, dim: int, start: Any, length: Any, layout: Any = None) -> Tensor:
    """Of each row of a dense batch the elements from ``start`` on, ``length`` of them, which may differ: a view."""
    if dim != 1:
        raise RuntimeError("torch.nested.narrow(): only dim=1 supported for jagged layout")
    rows, n = tensor.shape[0], tensor.shape[1]
    begins, counts = [v if isinstance(v, Tensor) else flambeau.full((rows,), v, dtype=flambeau.int64) for v in (start, length)]
    offsets = flambeau.cat([flambeau.arange(rows) * n + begins, (begins[-1:] + counts[-1:] + (rows - 1) * n)])
    return nested(tensor.reshape(-1, *tensor.shape[2:]), _Ragged(offsets, counts.clone()))


def masked_select(tensor: Tensor, mask: Tensor) -> Tensor:
    """Of each row of a matrix the elements where ``mask`` is true.

    >>> import flambeau as torch
    >>> rows = torch.tensor([[1, 2], [3, 4]])
    >>> torch.nested.masked_select(rows, rows != 2).unbind()
    (tensor([1]), tensor([3, 4]))
    """
    mask = mask.broadcast_to(tensor.shape)
    counts = mask.reshape(mask.shape[0], -1).sum(1)
    return nested_tensor_from_jagged(tensor.masked_select(mask), lengths=counts)
