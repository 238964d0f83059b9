"""Lookups in tables of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.errors import describe, warn
from flambeau.ops.limits import is_index_of
from flambeau.ops.numerics import all_below
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


def _check_indices(name: str, indices, position: str = "argument #1 'indices'") -> None:
    if not isinstance(indices, dispatch.Tensor):
        raise TypeError(f"{name}(): argument 'indices' (position 2) must be Tensor, not {describe(indices)}")
    if indices._dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(
            f"Expected tensor for {position} to have one of the following scalar types: Long, Int; but got "
            f"torch.{scalar_name(indices._dtype)}Tensor instead (while checking arguments for {name}): row numbers are "
            "integers, use .long()"
        )


# --- embedding -----------------------------------------------------------------------------------------------


def _check_range(indices, rows: int, in_bags: bool = False) -> None:
    if not all_below(indices, rows):
        if not rows and not in_bags:
            raise RuntimeError("index_select(): self indexing axis dim should be positive: the table has no rows")
        wrong = indices[(indices < 0) | (indices >= rows)][0]
        if in_bags:
            raise RuntimeError(
                f"embedding_bag: Expected idx >= 0 && idx < num_embeddings but found idx to be {wrong}: the table has {rows} rows"
            )
        raise IndexError(f"index out of range in self: the table has {rows} rows, and an index is {wrong}")


def _lookup(weight, indices, padding_idx, scale_grad_by_freq, in_bags):
    _check_range(indices, len(weight), in_bags)
    return weight[indices]


def _grad_of_lookup(g, indices, weight_shape, padding_idx, scale_grad_by_freq):
    if scale_grad_by_freq:
        flat = indices.reshape(-1)
        counts = flat.bincount(minlength=weight_shape[0]).index_select(0, flat)
        g = g / counts.reshape(*indices._shape, 1)
    return _embedding_grad(g, indices, weight_shape[0], padding_idx)


def _verify(inputs: tuple, attrs: dict) -> bool:
    known = dispatch.known(inputs[1])
    if known is None:
        return is_index_of(inputs[1], inputs[0]._shape[0])
    _check_range(known, inputs[0]._shape[0], attrs["in_bags"])
    return True


@op(
    name="_embedding",
    tensors="weight indices",
    kernel=_lookup,
    grad={"weight": _grad_of_lookup},
    checked=True,
    verify=_verify,
    method=False,
    backward_name="EmbeddingBackward0",
)
def _embedding(weight: Tensor, indices: Tensor, padding_idx, scale_grad_by_freq, in_bags: bool = False):
    """The rows of ``weight`` at ``indices``; ``in_bags`` says which error a wrong one is."""
    attrs = {"padding_idx": padding_idx, "scale_grad_by_freq": scale_grad_by_freq, "in_bags": in_bags}
    return (*indices._shape, *weight._shape[1:]), weight._dtype, (weight, indices), attrs


def _add_rows(g, indices, rows, padding_idx):
    _check_range(indices, rows)
    width = g.shape[-1]
    indices, g = indices.reshape(-1), g.reshape(indices.size, width)
    if padding_idx >= 0:
        kept = indices != padding_idx
        indices, g = indices[kept], g[kept]
    out = np.zeros(rows * width, g.dtype)
    # Flat, since that is what NumPy has a fast loop for.
    np.add.at(out, (indices[:, None].astype(np.intp) * width + np.arange(width)).ravel(), g.ravel())
    return out.reshape(rows, width)


def _verify_added(inputs: tuple, attrs: dict) -> bool:
    known = dispatch.known(inputs[1])
    if known is None:
        return is_index_of(inputs[1], attrs["rows"])
    _check_range(known, attrs["rows"])
    return True


def _grad_of_added_rows(g, indices, padding_idx):
    rows = _embedding(g, indices, -1, False)
    return rows if padding_idx < 0 else rows.masked_fill((indices == padding_idx).unsqueeze(-1), 0)


@op(
    name="_embedding_grad",
    tensors="grad indices",
    kernel=_add_rows,
    grad={"grad": _grad_of_added_rows},
    checked=True,  # whoever computes it need not have seen the rows looked up, or has caught the error of that
    verify=_verify_added,
    method=False,
    backward_name="EmbeddingDenseBackwardBackward0",
)
def _embedding_grad(grad: Tensor, indices: Tensor, rows, padding_idx):
    """A table of ``rows`` rows to which each row of ``grad`` is added at its index, but at ``padding_idx``."""
    return (rows, grad._shape[-1]), grad._dtype, (grad, indices), {"rows": rows, "padding_idx": padding_idx}


def _renormalise(weight, indices, max_norm: float, norm_type: float) -> None:
    """Scales the rows that are looked up down to ``max_norm``, in place and off the tape."""
    weight, indices = weight.detach(), indices.reshape(-1).long()
    rows = weight.index_select(0, indices)
    norms = rows.norm(norm_type, 1, True)
    weight.index_copy_(0, indices, (rows * (max_norm / (norms + 1e-7))).where(norms > max_norm, rows))


def _padding(padding_idx: int | None, rows: int, message: str, error: type[Exception]) -> int:
    """``padding_idx`` counted from the front; -1 for none."""
    if padding_idx is None:
        return -1
    if not -rows <= padding_idx < rows:
        raise error(f"{message}: it is {padding_idx}, there are {rows} rows")
    return padding_idx % rows


def _indices(make, *shape, n: int = 5):
    return make(*shape, low=0, high=n, requires_grad=False).long()


@composite(
    name="nn.functional.embedding",
    samples=lambda make: [
        Sample(_indices(make, 2, 3), make(5, 2)),
        Sample(_indices(make), make(5, 2)),
        # What gets no gradient, or a scaled one, has no derivative to compare with.
        Sample(_indices(make, 4), make(5, 2, requires_grad=False), padding_idx=-4),
        Sample(_indices(make, 4), make(5, 2, requires_grad=False), scale_grad_by_freq=True),
        Sample(_indices(make, 0, 2), make(5, 2)),
    ],
    errors=lambda make: [
        ErrorSample(IndexError, "index out of range in self", _indices(make, 3) + 9, make(5, 2)),
        ErrorSample(RuntimeError, "scalar types: Long, Int", make(3), make(5, 2)),
        ErrorSample(RuntimeError, "'weight' must be 2-D", _indices(make, 3), make(5)),
        ErrorSample(AssertionError, "Padding_idx must be within", _indices(make, 3), make(5, 2), padding_idx=5),
    ],
)
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of ``weight`` (rows, width) whose numbers are in ``input`` (any shape): (\\*, width).

    The row ``padding_idx`` gets no gradient. With ``max_norm``, rows that are looked up and whose ``norm_type``-norm
    is greater are first scaled down to it, in place. ``scale_grad_by_freq`` divides each row's gradient by how often
    it was looked up. With ``sparse=True`` the gradient of ``weight`` is a sparse tensor with one element for each row of the
    result.

    Raises ``RuntimeError`` for a ``weight`` of other than 2 dims, ``IndexError`` for a number that has no row.

    >>> import flambeau as torch
    >>> weight = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    >>> torch.nn.functional.embedding(torch.tensor([1, 0, 1]), weight)
    tensor([[2., 3.],
            [0., 1.],
            [2., 3.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding.html
    """
    require_tensors("embedding", indices=input, weight=weight)
    if weight.dim() != 2:
        raise RuntimeError(f"'weight' must be 2-D, but has shape {list(weight._shape)}")
    padding_idx = _padding(padding_idx, weight._shape[0], "Padding_idx must be within num_embeddings", AssertionError)
    _check_indices("embedding", input)
    if max_norm is not None:
        _renormalise(weight, input, max_norm, norm_type)
    if sparse and weight.requires_grad and dispatch.grad_mode.enabled:
        return dispatch.sparse().lookup(
            weight, input, lambda w, i: _embedding(w, i, -1, False), padding_idx, bool(scale_grad_by_freq)
        )
    return _embedding(weight, input, padding_idx, bool(scale_grad_by_freq))


# --- embedding_bag -------------------------------------------------------------------------------------------


def _check_bags(input, weight, offsets, mode, per_sample_weights):
    """Refuses arguments that do not fit; returns flat indices, the bags' offsets and flat weights."""
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None:
        if per_sample_weights._shape != input._shape:
            raise ValueError(
                f"embedding_bag: If per_sample_weights ({per_sample_weights._shape}) is not None, then it must have "
                f"the same shape as the input ({input._shape})"
            )
        if mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
                f"(got mode='{mode}')."
            )
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        bags, length = input._shape
        offsets = dispatch.wrap(np.arange(bags) * length)
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            raise ValueError("offsets has to be a 1D Tensor")
        _check_indices("embedding_bag", offsets, "argument #1 'offsets'")
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    _check_indices("embedding_bag", input)
    if weight.dim() != 2:
        raise RuntimeError("weight has to be a 2D Tensor")
    if per_sample_weights is not None:
        if per_sample_weights._dtype is not weight._dtype:
            raise RuntimeError(
                "Expected tensor for argument #1 'weight' to have the same type as tensor for argument #1 'per_sample_weights'; "
                f"but type torch.{scalar_name(weight._dtype)}Tensor does not equal "
                f"torch.{scalar_name(per_sample_weights._dtype)}Tensor (while checking arguments for embedding_bag)"
            )
        per_sample_weights = per_sample_weights.reshape(-1)
    return input.reshape(-1), offsets, per_sample_weights


def _number_bags(offsets, count):
    """For each of ``count`` elements the number of its bag: how many offsets are not beyond it, less one."""
    if len(offsets) and offsets[0] != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, "
            f"got {offsets[0]}"
        )
    if len(offsets) and offsets[-1] > count:
        raise RuntimeError(f"offsets[-1] can not be greater than input's length({count}). However, got {offsets[-1]}")
    if not all_below(offsets, count + 1):
        raise RuntimeError(
            f"offsets have to be between 0 and the input's length ({count}), but there is {offsets.min()} or {offsets.max()}"
        )
    return np.cumsum(np.bincount(offsets, minlength=count)[:count]) - 1


def _sum_rows(weight, indices, scale_grad_by_freq):
    _check_range(indices, len(weight), True)
    return np.add.reduce(weight[indices], axis=1, initial=0)  # of -0.0 alone it is 0.0


def _grad_of_sums(g, indices, weight_shape, scale_grad_by_freq):
    g = g.unsqueeze(1).expand(*indices._shape, weight_shape[1])
    return _grad_of_lookup(g, indices, weight_shape, -1, scale_grad_by_freq)


def _verify_sums(inputs: tuple, attrs: dict) -> bool:
    return _verify(inputs, {"in_bags": True})


@op(
    name="_bag_sums",
    tensors="weight indices",
    kernel=_sum_rows,
    grad={"weight": _grad_of_sums},
    checked=True,
    verify=_verify_sums,
    method=False,
    backward_name="EmbeddingBagBackward0",
)
def _bag_sums(weight: Tensor, indices: Tensor, scale_grad_by_freq):
    """The sums of the rows of ``weight`` in bags of equal length: for indices (bags, length)."""
    return (indices._shape[0], weight._shape[1]), weight._dtype, (weight, indices), {"scale_grad_by_freq": scale_grad_by_freq}


def _sum_bags(weight, indices, bags, count, scale_grad_by_freq):
    _check_range(indices, len(weight), True)
    out = np.zeros((count, weight.shape[1]), weight.dtype)
    np.add.at(out, bags, weight[indices])
    return out


def _grad_of_bags(g, indices, bags, weight_shape, scale_grad_by_freq):
    return _grad_of_lookup(g.index_select(0, bags), indices, weight_shape, -1, scale_grad_by_freq)


@op(
    name="_sums_of_bags",
    tensors="weight indices bags",
    kernel=_sum_bags,
    grad={"weight": _grad_of_bags},
    checked=True,
    verify=_verify_sums,
    method=False,
    backward_name="EmbeddingBagBackward0",
)
def _sums_of_bags(weight: Tensor, indices: Tensor, bags: Tensor, count, scale_grad_by_freq):
    """The sum of the rows of each bag, of bags of any lengths; ``bags`` says which of ``count`` each index is in."""
    attrs = {"count": count, "scale_grad_by_freq": scale_grad_by_freq}
    return (count, weight._shape[1]), weight._dtype, (weight, indices, bags), attrs


@op(name="_bag_numbers", kernel=_number_bags, checked=True, method=False)
def _bag_numbers(offsets: Tensor, count):
    """For each of ``count`` elements the number of the bag that it is in."""
    return (count,), dtypes.int64, (offsets,), {"count": count}


@composite(
    name="nn.functional.embedding_bag",
    samples=lambda make: [
        Sample(_indices(make, 2, 3), make(5, 2)),
        Sample(_indices(make, 2, 3), make(5, 2), mode="sum", per_sample_weights=make(2, 3)),
        Sample(_indices(make, 4), make(5, 2), _indices(make, 2, n=1), mode="sum", padding_idx=0),
        Sample(make(4, requires_grad=False).argsort(), make(5, 2), _indices(make, 1, n=1), mode="max"),
    ],
    errors=lambda make: [
        ErrorSample(ValueError, "mode has to be one of", _indices(make, 2, 3), make(5, 2), mode="min"),
        ErrorSample(ValueError, "offsets has to be a 1D Tensor but got None", _indices(make, 3), make(5, 2)),
        ErrorSample(ValueError, "input has to be 1D or 2D", _indices(make, 1, 2, 3), make(5, 2)),
        ErrorSample(RuntimeError, "has to be 0", _indices(make, 3), make(5, 2), _indices(make, 2) * 0 + 1),
    ],
)
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum of the rows of ``weight`` (rows, width) that are in each bag: (bags, width).

    ``input`` (bags, n) has bags of equal length; ``input`` (n,) has the bags one after the other, which begin at
    ``offsets``. An empty bag gives zeros. Entries equal to ``padding_idx`` do not count. ``per_sample_weights``, of the
    input's shape, multiply the rows of a sum. With ``sparse=True`` the gradient of ``weight`` is sparse.

    Raises ``RuntimeError`` for offsets that do not fit.

    >>> import flambeau as torch
    >>> weight = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    >>> torch.nn.functional.embedding_bag(torch.tensor([[0, 1], [1, 1]]), weight, mode="sum")
    tensor([[2., 4.],
            [4., 6.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html
    """
    if weight._dtype is dtypes.int64 and input.is_floating_point():
        warn(
            "Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, ...)` is deprecated, and should "
            "now be `embedding_bag(input, weight, ...)`."
        )
        weight, input = input, weight
    if input.dim() == 1 and offsets is not None and include_last_offset:
        if not offsets._shape[0]:
            raise RuntimeError("include_last_offset: number of offset should be at least 1")
        offsets = offsets[:-1]
    length = input._shape[1] if input.dim() == 2 else 0
    indices, offsets, per_sample_weights = _check_bags(input, weight, offsets, mode, per_sample_weights)
    if max_norm is not None:
        _renormalise(weight, indices, max_norm, norm_type)
    padding_idx = _padding(padding_idx, weight._shape[0], "padding_idx must be within the number of embeddings", RuntimeError)
    dense = not (sparse and weight.requires_grad and dispatch.grad_mode.enabled)
    if length and dense and padding_idx < 0 and per_sample_weights is None:
        if mode == "max":
            rows = _embedding(weight, indices, -1, bool(scale_grad_by_freq), True)
            return rows.reshape(-1, length, weight._shape[1]).max(1)[0]
        total = _bag_sums(weight, indices.reshape(-1, length), bool(scale_grad_by_freq))
        return total if mode == "sum" else total / length
    shape = (offsets._shape[0], weight._shape[1])
    if dense and padding_idx < 0 and per_sample_weights is None and mode != "max":
        length = _equal_length(offsets, indices._shape[0])
        if length:
            total = _bag_sums(weight, indices.reshape(-1, length), bool(scale_grad_by_freq))
            return total if mode == "sum" else total / length
        bags = _bag_numbers(offsets, indices._shape[0])
        total = _sums_of_bags(weight, indices, bags, shape[0], bool(scale_grad_by_freq))
        return total if mode == "sum" else total / _bag_sizes(bags, indices, padding_idx, shape[0], weight._dtype)
    if not dense:
        if mode == "max" or scale_grad_by_freq:
            raise RuntimeError("embedding_bag: sparse gradients are supported for mode 'sum' and 'mean' without scale_grad_by_freq")
        rows = dispatch.sparse().lookup(weight, indices, lambda w, i: _embedding(w, i, -1, False, True), padding_idx, False)
    else:
        rows = _embedding(weight, indices, padding_idx, bool(scale_grad_by_freq), True)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    if not shape[0]:
        return rows[:0]
    bags = _bag_numbers(offsets, indices._shape[0])
    if padding_idx >= 0:
        rows = rows.masked_fill((indices == padding_idx).unsqueeze(1), float("-inf") if mode == "max" else 0)
    if mode == "max":
        best = rows.new_full(shape, float("-inf")).scatter_reduce(0, bags.unsqueeze(1).expand_as(rows), rows, "amax")
        return best.masked_fill(best == float("-inf"), 0)
    total = rows.new_zeros(shape).index_add(0, bags, rows)
    return total if mode == "sum" else total / _bag_sizes(bags, indices, padding_idx, shape[0], rows._dtype)


def _equal_length(offsets, count: int) -> int:
    """The length of all bags of ``count`` elements, if it is known that they have one; else 0."""
    known = dispatch.known(offsets)
    if known is None or not count or not known.size or count % known.size:
        return 0
    length: int = count // known.size
    if known[-1] != count - length:
        return 0
    return length if np.array_equal(known, np.arange(0, count, length)) else 0


def _bag_sizes(bags, indices, padding_idx: int, count: int, dtype):
    """What the sums of ``count`` bags are divided by: how many elements each has that count, at least 1: (count, 1)."""
    known = dispatch.known(bags) if padding_idx < 0 else None
    if known is not None:
        return dispatch.wrap(np.maximum(np.bincount(known, minlength=count), 1)[:, None], dtype)
    counted = (indices != padding_idx).to(dtype)
    return counted.new_zeros(count).index_add(0, bags, counted).clamp(min=1).unsqueeze(1)


# --- one_hot -------------------------------------------------------------------------------------------------


def _one_hot_kernel(x, classes):
    if x.size:
        if x.min() < 0:
            raise RuntimeError(f"Class values must be non-negative. There is a {x.min()}.")
        if x.max() >= classes:
            raise RuntimeError(f"Class values must be smaller than num_classes. There is a {x.max()} for {classes} classes.")
    out = np.zeros((*x.shape, classes), np.int64)
    out.reshape(-1)[x.reshape(-1) + np.arange(0, out.size, classes or 1)] = 1
    return out


@op(name="_one_hot", kernel=_one_hot_kernel, checked=True, method=False)
def _one_hot(input: Tensor, classes):
    """:func:`one_hot` for a known number of classes."""
    return (*input._shape, classes), dtypes.int64, (input,), {"classes": classes}


@composite(
    name="nn.functional.one_hot",
    samples=lambda make: [
        Sample(_indices(make, 3)),
        Sample(_indices(make, 2, 3), 7),
        Sample(_indices(make), num_classes=5),
        Sample(_indices(make, 0), 3),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "smaller than num_classes", _indices(make, 3) + 4, 4),
        ErrorSample(RuntimeError, "non-negative", _indices(make, 3) - 9, 4),
        ErrorSample(RuntimeError, "LongTensor", make(3), 4),
        ErrorSample(RuntimeError, "infer total number of classes from empty", _indices(make, 0)),
    ],
)
def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """Class numbers (\\*) as rows (\\*, num_classes) that are 1 at the class and else 0.

    ``num_classes=-1``: one more than the greatest number in ``input``.

    Raises ``RuntimeError`` for another dtype than int64 and for classes that are not below ``num_classes``.

    >>> import flambeau as torch
    >>> torch.nn.functional.one_hot(torch.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.one_hot.html
    """
    if input._dtype is not dtypes.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, this one is {input._dtype}.")
    if num_classes < 1:
        if num_classes != -1:
            raise RuntimeError(f"Class values must be smaller than num_classes ({num_classes}).")
        if not input.numel():
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        if input._opaque and not input._storage.is_meta:
            raise RuntimeError(
                "When vmap-ing torch.nn.functional.one_hot, please provide an explicit positive num_classes argument."
            )
        num_classes = max(int(input.max().item()) + 1, 1)
    return _one_hot(input, int(num_classes))
