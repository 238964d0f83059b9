"""Functions that PyTorch has under ``torch`` itself, as ``nn.functional`` calls them there: ``torch.batch_norm``, ``torch.lstm``,
...

They have other arguments than those of ``nn.functional``: reductions are numbers (0 none, which is the default; 1 mean, 2 sum),
modes too, hardly anything has a default, and ``cudnn_enabled`` changes nothing on a CPU. Older programs, traces and libraries that
replace layers call them.

Source: https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/native_functions.yaml
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau import ops
from flambeau.core import dtypes
from flambeau.nn import functional as functional_
from flambeau.nn.native_recurrent import (  # noqa: F401  (``torch`` looks all names up here)
    gru,
    gru_cell,
    lstm,
    lstm_cell,
    rnn_relu,
    rnn_relu_cell,
    rnn_tanh,
    rnn_tanh_cell,
)
from flambeau.nn.utils.weight_norm import norm_except_dim as norm_of_slices
from flambeau.ops.embedding import _bag_numbers, _renormalise
from flambeau.ops.normalization_batch import _move, _unbiased
from flambeau.ops.random_dropout import feature_dropout
from flambeau.ops.record import ErrorSample, Sample, composite, registry
from flambeau.tensor import Tensor
from flambeau.tensor.methods import inplace_function
from flambeau.tensor.overriding import told

if TYPE_CHECKING:
    from collections.abc import Sequence

F: Any = functional_
_REDUCTIONS = ("none", "mean", "sum")
_MODES = ("sum", "mean", "max")


def reduction_of(number: int) -> str:
    """The name of a reduction.

    Raises:
        RuntimeError: there is none of that number.
    """
    if not 0 <= number < len(_REDUCTIONS):
        raise RuntimeError(f"{number} is not a valid value for reduction: 0 is none, 1 mean and 2 sum")
    return _REDUCTIONS[number]


# --- normalisation -------------------------------------------------------------------------------------------


def _norm_samples(make: Callable) -> list[Sample]:
    def running() -> tuple:
        return make(3, requires_grad=False), make(3, low=0.5, high=2, requires_grad=False)

    return [
        Sample(make(4, 3, 2), make(3), make(3), None, None, True, 0.1, 1e-5, False),
        Sample(make(4, 3, 2), None, None, *running(), False, 0.1, 1e-5, True),
    ]


@composite(method=False, samples=_norm_samples)
def batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """:func:`nn.functional.batch_norm`, with the weights before the running statistics.

    >>> import flambeau as torch
    >>> torch.batch_norm(torch.tensor([[1.0], [3.0]]), None, None, None, None, True, 0.1, 1e-5, False)
    tensor([[-1.0000],
            [ 1.0000]])

    Source: PyTorch's operator ``aten::batch_norm``.
    """
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


@composite(method=False, samples=_norm_samples)
def instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """:func:`nn.functional.instance_norm`, with the weights before the running statistics.

    >>> import flambeau as torch
    >>> torch.instance_norm(torch.tensor([[[1.0, 3.0]]]), None, None, None, None, True, 0.1, 1e-5, False)
    tensor([[[-1.0000,  1.0000]]])

    Source: PyTorch's operator ``aten::instance_norm``.
    """
    return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


@composite(
    method=False, samples=lambda make: [Sample(make(2, 3), (3,), make(3), make(3)), Sample(make(2, 3), (2, 3), None, None, 0.5)]
)
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """:func:`nn.functional.layer_norm`.

    >>> import flambeau as torch
    >>> torch.layer_norm(torch.tensor([[1.0, 3.0]]), (2,))
    tensor([[-1.0000,  1.0000]])

    Source: PyTorch's operator ``aten::layer_norm``.
    """
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


@composite(method=False, samples=lambda make: [Sample(make(2, 4, 3), 2, make(4), make(4)), Sample(make(2, 4), 4, None, None, 0.5)])
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """:func:`nn.functional.group_norm`.

    >>> import flambeau as torch
    >>> torch.group_norm(torch.tensor([[1.0, 3.0, 10.0, 30.0]]), 2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])

    Source: PyTorch's operator ``aten::group_norm``.
    """
    return F.group_norm(input, num_groups, weight, bias, eps)


# --- losses --------------------------------------------------------------------------------------------------


def _pairs(make: Callable) -> list[Sample]:
    return [Sample(make(2, 3), make(2, 3, low=0.1, high=0.9)), Sample(make(3), make(3, low=0.1, high=0.9), reduction=2)]


def _wrong_reduction(make: Callable) -> list[ErrorSample]:
    return [ErrorSample(RuntimeError, "is not a valid value for reduction", make(3), make(3, low=0.1, high=0.9), reduction=4)]


@composite(method=False, samples=_pairs, errors=_wrong_reduction)
def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None, reduction: int = 0
) -> Tensor:
    """:func:`nn.functional.binary_cross_entropy_with_logits`, with a number as ``reduction``; shapes broadcast.

    >>> import flambeau as torch
    >>> torch.binary_cross_entropy_with_logits(torch.zeros(3), torch.ones(3), reduction=1)
    tensor(0.6931)

    Source: PyTorch's operator ``aten::binary_cross_entropy_with_logits``.
    """
    if input.shape != target.shape:
        input, target = ops.broadcast_tensors(input, target)
    return F.binary_cross_entropy_with_logits(input, target, weight, reduction=reduction_of(reduction), pos_weight=pos_weight)


@composite(method=False, samples=_pairs, errors=_wrong_reduction)
def kl_div(input: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False) -> Tensor:
    """:func:`nn.functional.kl_div`, with a number as ``reduction``; 1 is the mean over all elements.

    >>> import flambeau as torch
    >>> torch.kl_div(torch.tensor([0.5, 0.5]).log(), torch.tensor([0.75, 0.25]), reduction=2)
    tensor(0.1308)

    Source: PyTorch's operator ``aten::kl_div``.
    """
    name = reduction_of(reduction)
    loss = F.kl_div(input, target, reduction="none" if name == "mean" else name, log_target=log_target)
    return loss.mean() if name == "mean" else loss


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(3, 4), make(3, 4), make(3, requires_grad=False).sign()),
        Sample(make(4), make(4), make(requires_grad=False).sign(), 0.5, 0),
    ],
)
def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0) -> Tensor:
    """:func:`nn.functional.cosine_embedding_loss`, with a number as ``reduction``.

    >>> import flambeau as torch
    >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    >>> torch.cosine_embedding_loss(a, b, torch.tensor([1.0]))
    tensor([0.2929])

    Source: PyTorch's operator ``aten::cosine_embedding_loss``.
    """
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=reduction_of(reduction))


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(3), make(3, requires_grad=False).sign(), 3.0),
        Sample(make(3), make(3, requires_grad=False).sign(), reduction=0),
    ],
)
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 0) -> Tensor:
    """:func:`nn.functional.hinge_embedding_loss`, with a number as ``reduction``.

    >>> import flambeau as torch
    >>> torch.hinge_embedding_loss(torch.tensor([0.3, 0.3]), torch.tensor([1.0, -1.0]))
    tensor([0.3000, 0.7000])

    Source: PyTorch's operator ``aten::hinge_embedding_loss``.
    """
    return F.hinge_embedding_loss(input, target, margin, reduction=reduction_of(reduction))


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(3), make(3), make(3, requires_grad=False).sign(), 0.5),
        Sample(make(3), make(3), make(3, requires_grad=False).sign(), reduction=0),
    ],
)
def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0) -> Tensor:
    """:func:`nn.functional.margin_ranking_loss`, with a number as ``reduction``; shapes broadcast.

    >>> import flambeau as torch
    >>> torch.margin_ranking_loss(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([1.0]))
    tensor([2.])

    Source: PyTorch's operator ``aten::margin_ranking_loss``.
    """
    input1, input2, target = ops.broadcast_tensors(input1, input2, target)
    return F.margin_ranking_loss(input1, input2, target, margin, reduction=reduction_of(reduction))


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(3), make(3, low=0.5, high=3), True, False, 1e-8, 1),
        Sample(make(3), make(3, low=0.5, high=3), True, True, 1e-8, 0),
    ],
)
def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int) -> Tensor:
    """:func:`nn.functional.poisson_nll_loss`, with a number as ``reduction``.

    >>> import flambeau as torch
    >>> torch.poisson_nll_loss(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]), True, False, 1e-8, 0)
    tensor([1.0000, 0.7183])

    Source: PyTorch's operator ``aten::poisson_nll_loss``.
    """
    return F.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=reduction_of(reduction))


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(3, 4), make(3, 4), make(3, 4), 2.0),
        Sample(make(3, 4), make(3, 4), make(3, 4), 2.0, 1.0, 1e-6, True, 0),
    ],
)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: int = 0,
) -> Tensor:
    """:func:`nn.functional.triplet_margin_loss`, with a number as ``reduction``.

    >>> import flambeau as torch
    >>> torch.triplet_margin_loss(torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([[1.5]]))
    tensor([0.5000])

    Source: PyTorch's operator ``aten::triplet_margin_loss``.
    """
    return F.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=reduction_of(reduction))


@composite(method=False)
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: int = 0,
    zero_infinity: bool = False,
):
    """:func:`nn.functional.ctc_loss`, with a number as ``reduction``.

    >>> import flambeau as torch
    >>> log_probs = torch.full((3, 1, 2), 0.5).log()
    >>> torch.ctc_loss(log_probs, torch.tensor([[1]]), [3], [1])  # 6 of 8 paths spell the label
    tensor([0.2877])

    Source: PyTorch's operator ``aten::ctc_loss``.
    """
    return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, reduction_of(reduction), zero_infinity)


# --- lookups -------------------------------------------------------------------------------------------------


def _indices(make: Callable, *shape: int) -> Tensor:
    return make(*shape, low=0, high=5, requires_grad=False).long()


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(5, 2), _indices(make, 2, 3)),
        Sample(make(5, 2, requires_grad=False), _indices(make, 3), 1, True),
    ],
)
def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    """:func:`nn.functional.embedding`, with the weights first; a negative ``padding_idx`` is none.

    >>> import flambeau as torch
    >>> torch.embedding(torch.tensor([[1.0, 1.0], [2.0, 2.0]]), torch.tensor([1]))
    tensor([[2., 2.]])

    Source: PyTorch's operator ``aten::embedding``.
    """
    return F.embedding(indices, weight, padding_idx if padding_idx >= 0 else None, None, 2.0, scale_grad_by_freq, sparse)


@composite(method=False)
def embedding_bag(
    weight: Tensor, indices: Tensor, offsets: Tensor, scale_grad_by_freq: bool = False, mode: int = 0, sparse: bool = False, per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None
):  # fmt: skip
    """:func:`nn.functional.embedding_bag` with the weights first and a number as ``mode`` (0 sum, 1 mean, 2 max).

    Returns the result, for each index the number of its bag, for each bag how many of its indices count, and for the maximum which
    index of the bag has it. What PyTorch keeps of these only for some modes is always there.

    Raises ``RuntimeError`` for another ``mode``.

    >>> import flambeau as torch
    >>> weight = torch.tensor([[1.0], [10.0], [100.0]])
    >>> torch.embedding_bag(weight, torch.tensor([0, 1, 2]), torch.tensor([0, 2]))[0]  # two bags
    tensor([[ 11.],
            [100.]])

    Source: PyTorch's operator ``aten::embedding_bag``.
    """
    if not 0 <= mode < len(_MODES):
        raise RuntimeError(f"embedding_bag: mode has to be 0 (sum), 1 (mean) or 2 (max), but got {mode}")
    out = F.embedding_bag(
        indices, weight, offsets, None, 2.0, scale_grad_by_freq, _MODES[mode], sparse, per_sample_weights, include_last_offset, padding_idx
    )  # fmt: skip
    starts = offsets[:-1] if include_last_offset else offsets
    bags = _bag_numbers(starts, indices.shape[0])
    counts = ops.ones_like(bags) if padding_idx is None else (indices != padding_idx).long()
    sizes = counts.new_zeros(starts.shape[0]).index_add(0, bags, counts)
    if _MODES[mode] != "max":
        return out, bags, sizes, sizes
    hits = (weight.detach().index_select(0, indices) == out.detach().index_select(0, bags)) & (counts > 0).unsqueeze(1)
    first = ops.arange(indices.shape[0]).unsqueeze(1).where(hits, indices.shape[0])
    place = first.new_full(out.shape, indices.shape[0]).scatter_reduce(0, bags.unsqueeze(1).expand_as(first), first, "amin")
    found = indices.index_select(0, place.clamp(max=indices.shape[0] - 1).reshape(-1)).reshape(out.shape)
    return out, bags, sizes, found.where(place < indices.shape[0], -1)


@told
def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Scales the rows of ``input`` that are looked up, and whose ``norm_type``-norm is greater, down to ``max_norm``, in place.

    >>> import flambeau as torch
    >>> torch.embedding_renorm_(torch.tensor([[3.0, 4.0], [6.0, 8.0]]), torch.tensor([1]), 4.0, 2.0)
    tensor([[3.0000, 4.0000],
            [2.4000, 3.2000]])
    """
    _renormalise(input, indices, max_norm, norm_type)
    return input


# --- dropout in place ----------------------------------------------------------------------------------------

dropout_ = inplace_function(registry["dropout"], "dropout")
alpha_dropout_ = inplace_function(registry["alpha_dropout"], "alpha_dropout")
feature_dropout_ = inplace_function(feature_dropout.op, "feature_dropout")  # type: ignore[attr-defined]
feature_alpha_dropout_ = inplace_function(registry["feature_alpha_dropout"], "feature_alpha_dropout")


@composite(method=False)
def native_dropout(input: Tensor, p: float, train: bool | None):
    """``input`` with elements dropped with probability ``p`` where ``train``, and which were kept.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.native_dropout(torch.ones(4), 0.5, True)
    (tensor([0., 0., 2., 0.]), tensor([False, False,  True, False]))

    Source: PyTorch's operator ``aten::native_dropout``.
    """
    if train is False or p == 0:
        return input.clone(), ops.ones_like(input, dtype=dtypes.bool)
    if p == 1:
        return input * 0, ops.zeros_like(input, dtype=dtypes.bool)
    mask = ops.empty_like(input, dtype=dtypes.bool).bernoulli_(1 - p)
    return mask * input * (1.0 / (1.0 - p)), mask


# --- others --------------------------------------------------------------------------------------------------


@composite(method=False, samples=lambda make: [Sample(make(1, 2, 3), (1, 1, 2, 3), True)])
def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """:func:`nn.functional.affine_grid`.

    >>> import flambeau as torch
    >>> torch.affine_grid_generator(torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 2, 2), True).shape
    torch.Size([1, 2, 2, 2])

    Source: PyTorch's operator ``aten::affine_grid_generator``.
    """
    return F.affine_grid(theta, size, align_corners)


@composite(method=False, samples=lambda make: [Sample(make(2, 3), 1), Sample(make(2, 3), (0, 1), True)])
def frobenius_norm(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """The square root of the sum of squares along ``dim``.

    >>> import flambeau as torch
    >>> torch.frobenius_norm(torch.tensor([[3.0, 4.0]]), 1)
    tensor([5.])

    Source: PyTorch's operator ``aten::frobenius_norm``.
    """
    return ops.norm(input, 2, dim, keepdim)


@composite(method=False, samples=lambda make: [Sample(make(3, 2)), Sample(make(2, 3, 2), (0, 2), True)])
def nuclear_norm(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The sum of the singular values of a matrix, or of those along the two dims ``dim``.

    >>> import flambeau as torch
    >>> torch.nuclear_norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(7.)

    Source: PyTorch's operator ``aten::nuclear_norm``.
    """
    if isinstance(dim, bool):  # nuclear_norm(input, keepdim)
        return ops.norm(input, "nuc", None, dim)
    if dim is None or not keepdim:
        return ops.norm(input, "nuc", dim, keepdim)
    dims: Any = dim
    first, second = sorted([d % input.dim() for d in dims])
    return ops.norm(input, "nuc", dim)[..., None, None].movedim((-2, -1), (first, second))  # with PyTorch's strides


@composite(method=False, samples=lambda make: [Sample(make(3, 2)), Sample(make(2, 3, 2), 1, 1), Sample(make(3, 2), 2, -1)])
def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The ``pow``-norms of the slices along ``dim``, or of all elements for -1: what :func:`torch.nn.utils.weight_norm` divides by.

    >>> import flambeau as torch
    >>> torch.norm_except_dim(torch.tensor([[3.0, 4.0], [6.0, 8.0]]))
    tensor([[ 5.],
            [10.]])

    Source: PyTorch's operator ``aten::norm_except_dim``.
    """
    return norm_of_slices(v, dim, pow)


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(4, 3, requires_grad=False), make(3, requires_grad=False), make(3, requires_grad=False), 0.1),
        Sample(make(2, 3, 2, requires_grad=False), None, None, 0.1),
    ],
)
def batch_norm_update_stats(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float):
    """The mean and the variance of each channel (dim 1); the running ones move by ``momentum`` towards them, to the unbiased
    variance.

    Raises ``RuntimeError`` for a tensor without elements.

    >>> import flambeau as torch
    >>> torch.batch_norm_update_stats(torch.tensor([[1.0], [3.0]]), None, None, 0.1)
    (tensor([2.]), tensor([1.]))

    Source: PyTorch's operator ``aten::batch_norm_update_stats``.
    """
    if not input.numel():
        raise RuntimeError(f"input tensor must have at least one element, but got input_sizes = {list(input.shape)}")
    dims = [0, *range(2, input.dim())]
    mean, var = input.mean(dims), input.var(dims, correction=0)
    count = input.numel() // input.shape[1]
    _move((running_mean, mean, momentum, 1.0), (running_var, var, momentum, _unbiased(count)))
    return mean, var
