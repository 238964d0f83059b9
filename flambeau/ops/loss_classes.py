"""Classification losses: scores of classes against the numbers, or the probabilities, of the right ones."""

from __future__ import annotations

from math import nan, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.ops.activation import logsigmoid
from flambeau.ops.limits import is_index_of
from flambeau.ops.linear import linear
from flambeau.ops.loss_reductions import checked_reduction, reduced
from flambeau.ops.numerics import all_below
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import NOT_FLOATING, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

# --- negative log-likelihood ---------------------------------------------------------------------------------


def _check_targets(target, classes: int) -> None:
    outside = (target < 0) | (target >= classes)
    if outside.any():
        raise IndexError(
            f"Target {target[outside].flat[0]} is out of bounds. There are {classes} classes, numbered from 0 to {classes - 1}."
        )


def _picked(target, weight, classes: int, ignore_index: int, dtype):
    """The targets, 0 for ignored ones; what each counts, its class's weight; and which are ignored, if any are."""
    ignored = target == ignore_index
    if not ignored.any():
        ignored, safe = None, target
    else:
        safe = np.where(ignored, 0, target)
    _check_targets(safe, classes)
    counts = np.ones(target.shape, dtype) if weight is None or not target.size else weight[safe]
    if ignored is not None:
        counts = np.where(ignored, dtype.type(0), counts)
    return safe, counts, ignored


class _Classes:
    """What plans need of targets for scores of ``shape``: each class of a sample is compared with the sample's target.

    That is part of a loop that makes, or reads, the scores anyway.
    """

    def __init__(self, e, target, weight, shape: tuple[int, ...], ignore_index: int, dtype) -> None:
        self.axis = axis = 1 if len(shape) > 1 else 0
        self.shape, self.ignore_index = shape, ignore_index
        self.target = e.view(e.cast(target, dtypes.int64), (*shape[:axis], 1, *shape[axis + 1 :]))
        if e.node.op.checked:
            e.check(self._is_outside, self.target)
        if weight is None:
            self.counts = e.map(lambda b, t: self.unless_ignored(b, t, b.const(1, dtype)), self.target)
        else:
            weight = e.view(weight, (shape[axis],) + (1,) * (len(shape) - axis - 1))
            own = e.reduce(lambda b, t, w: b.amax(b.select(self.is_hit(b, t), w, -np.inf)), (axis,), self.target, weight)
            self.counts = e.map(self.unless_ignored, self.target, own)

    def _is_outside(self, b, target):
        outside = b.or_(b.lt(target, 0), b.ge(target, self.shape[self.axis]))
        return b.and_(outside, b.ne(target, self.ignore_index))

    def is_hit(self, b, target):
        return b.eq(b.index(self.axis), target)

    def unless_ignored(self, b, target, value):
        return b.select(b.eq(target, self.ignore_index), 0, value)


def _expand_nll(e, x, target, weight, ignore_index, reduction):
    classes = _Classes(e, target, weight, x.shape, ignore_index, e.computing(x))
    chosen = e.reduce(lambda b, x, t: b.amax(b.select(classes.is_hit(b, t), x, -np.inf)), (classes.axis,), x, classes.target)
    losses = e.map(lambda b, x, t, n: classes.unless_ignored(b, t, b.mul(b.neg(x), n)), chosen, classes.target, classes.counts)
    if reduction == "none":
        return losses
    everything = tuple(range(len(x.shape)))
    if reduction == "sum":
        return e.sum(losses, everything)
    return e.reduce(lambda b, x, n: b.div(b.sum(x), b.sum(n)), everything, losses, classes.counts)


def _expand_nll_grad(e, g, target, weight, shape, ignore_index, reduction):
    classes = _Classes(e, target, weight, shape, ignore_index, e.computing(g))
    if reduction == "none":
        g = e.view(g, classes.target.shape)
    elif reduction == "mean":
        total = e.sum(classes.counts, tuple(range(len(shape))))
        g = e.map(lambda b, g, n: b.div(g, n), g, total)
    values = e.map(lambda b, g, t, n: classes.unless_ignored(b, t, b.mul(b.neg(n), g)), g, classes.target, classes.counts)
    return e.map(lambda b, v, t: b.select(classes.is_hit(b, t), v, 0), values, classes.target, shape=shape)


def _nll(x, target, weight, ignore_index, reduction):
    axis = 1 if x.ndim > 1 else 0
    safe, counts, ignored = _picked(target, weight, x.shape[axis], ignore_index, x.dtype)
    if not target.size:
        chosen = np.empty(target.shape, x.dtype)
    elif x.ndim == 2:
        chosen = x[np.arange(len(x)), safe]
    else:
        chosen = np.take_along_axis(x, np.expand_dims(safe, axis), axis).squeeze(axis)
    loss = -chosen * counts
    if ignored is not None:  # their scores may be infinite
        loss = np.where(ignored, x.dtype.type(0), loss)
    if reduction == "none":
        return loss
    return loss.sum() / counts.sum() if reduction == "mean" else loss.sum()


def _nll_grad(g, target, weight, shape, ignore_index, reduction):
    axis = 1 if len(shape) > 1 else 0
    safe, counts, ignored = _picked(target, weight, shape[axis], ignore_index, g.dtype)
    values = -counts * (g / counts.sum() if reduction == "mean" else g)
    if ignored is not None:
        values = np.where(ignored, g.dtype.type(0), values)
    out = np.zeros(shape, g.dtype)
    if target.size:
        np.put_along_axis(out, np.expand_dims(safe, axis), np.expand_dims(values, axis), axis)
    return out


def _nll_loss_of_gradient(g, target, weight, ignore_index, reduction):
    return _nll_loss(g, target, weight, ignore_index, reduction)


@op(
    name="_nll_loss_grad",
    tensors="grad target weight",
    kernel=_nll_grad,
    expand=_expand_nll_grad,
    grad={"grad": _nll_loss_of_gradient},  # the loss is linear in the scores, so this is its transpose's transpose
    method=False,
    backward_name="NllLossBackwardBackward0",
)
def _nll_loss_grad(grad: Tensor, target: Tensor, weight: Tensor, shape: Sequence[int], ignore_index, reduction: str):
    """The gradient of :func:`nll_loss` with respect to its input, of the input's ``shape``."""
    attrs = {"shape": tuple(shape), "ignore_index": ignore_index, "reduction": reduction}
    return tuple(shape), grad._dtype, (grad, target, weight), attrs


def _nll_record(name: str, backward_name: str):
    """The record of the loss; PyTorch names the gradient of images' losses apart."""

    def check(input: Tensor, target: Tensor, weight: Tensor, ignore_index, reduction: str):
        """:func:`nll_loss` after the checks."""
        inputs, attrs = (input, target, weight), {"ignore_index": ignore_index, "reduction": reduction}
        return target._shape if reduction == "none" else (), input._dtype, inputs, attrs

    def verify(inputs: tuple, attrs: dict) -> bool:
        """Whether the targets are known; what is wrong with them is said now then, and not when the loss is computed."""
        input, target, _ = inputs
        known = dispatch.known(target)
        classes = input._shape[1 if len(input._shape) > 1 else 0]
        if known is not None and not all_below(known, classes):
            _check_targets(known[known != attrs["ignore_index"]], classes)
        return known is not None or is_index_of(target, classes)

    return op(
        check,
        name=name,
        tensors="input target weight",
        kernel=_nll,
        expand=_expand_nll,
        grad={"input": lambda g, target, weight, input_shape, ignore_index, reduction:
              _nll_loss_grad(g, target, weight, input_shape, ignore_index, reduction)},
        checked=True,
        verify=verify,
        method=False,
        backward_name=backward_name,
    )  # fmt: skip


_nll_loss = _nll_record("_nll_loss", "NllLossBackward0")
_nll_loss2d = _nll_record("_nll_loss2d", "NllLoss2DBackward0")


def _check_classes(input, target, weight):
    """Refuses shapes and dtypes that do not fit; returns the target in the shape of the loss of each sample."""
    shape, given = input._shape, target._shape
    if not shape:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    if len(shape) == 1:
        if len(given) > 1 or given not in ((), (1,)):
            raise ValueError(f"For 1D input, 1D target must have size 1, but got target size: {given[0]}")
    elif not given or shape[0] != given[0]:
        count = given[0] if given else 0
        raise ValueError(
            f"Expected input batch_size ({shape[0]}) to match target batch_size ({count}). The input has shape "
            f"{list(shape)} (samples, classes, ...), the target {list(given)} (samples, ...)."
        )
    elif len(shape) == 2:
        if len(given) > 1:
            raise RuntimeError(
                f"0D or 1D target tensor expected, multi-target not supported: the target has shape {list(given)}, and "
                f"{shape[0]} samples need {shape[0]} class numbers; "
                f"{'for a column of them give target.squeeze(1)' if given[1] == 1 else 'for one-hot rows give target.argmax(1)'}"
            )
    elif len(shape) == 4 and len(given) != 3:
        raise RuntimeError(f"only batches of spatial targets supported (3D tensors) but got targets of dimension: {len(given)}")
    elif given[1:] != shape[2:]:
        expected = [shape[0], *shape[2:]]
        if len(shape) == 4:
            raise RuntimeError(f"size mismatch (got input: {list(shape)} , target: {list(given)}): expected target {expected}")
        raise RuntimeError(f"Expected target size {expected}, got {list(given)}")
    if target._dtype not in (dtypes.int64, dtypes.uint8):
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {scalar_name(target._dtype)}: the target holds class "
            "numbers; convert it with .long()"
        )
    classes = shape[1] if len(shape) > 1 else shape[0]
    if weight is not None:
        if weight._shape != (classes,):
            raise RuntimeError(
                f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor "
                f"of shape: {list(weight._shape)}"
            )
        if weight._dtype is not input._dtype:
            raise RuntimeError(f"expected scalar type {scalar_name(input._dtype)} but found {scalar_name(weight._dtype)}")
    return target.reshape(()) if len(shape) == 1 else target


def _classes(make, *shape, n: int = 4):
    return make(*shape, low=0, high=n, requires_grad=False).long()


@composite(
    name="nn.functional.nll_loss",
    samples=lambda make: [
        Sample(make(3, 4), _classes(make, 3)),
        Sample(make(3, 4), _classes(make, 3), make(4, low=0.5, high=2, requires_grad=False), reduction="sum"),
        Sample(make(3, 4), _classes(make, 3), make(4, low=0.5, high=2, requires_grad=False)),
        Sample(make(3, 4), _classes(make, 3), ignore_index=1, reduction="none"),
        Sample(make(4), _classes(make)),
        Sample(make(2, 4, 3), _classes(make, 2, 3)),
        Sample(make(1, 4, 2, 3), _classes(make, 1, 2, 3), ignore_index=0),
    ],
    errors=lambda make: [
        ErrorSample(ValueError, "batch_size", make(3, 4), _classes(make, 2)),
        ErrorSample(RuntimeError, "multi-target not supported", make(3, 4), _classes(make, 3, 4)),
        ErrorSample(RuntimeError, "expected target dtype to be Long", make(3, 4), make(3)),
        ErrorSample(RuntimeError, "weight tensor should be defined", make(3, 4), _classes(make, 3), make(3)),
        ErrorSample(IndexError, "Target 9 is out of bounds", make(3, 4), _classes(make, 3) * 0 + 9),
    ],
)
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Negative log-likelihood :math:`-w_t\,x_t` of log-probabilities ``input`` (N, C, ...) at classes ``target`` (N, ...).

    ``weight`` (C,) weights the classes, and the mean is the weighted mean. Targets equal to ``ignore_index`` do not
    count. ``input`` may be (C,), with a target of one class.

    >>> import flambeau as torch
    >>> torch.nn.functional.nll_loss(torch.tensor([[-0.5, -1.0]]), torch.tensor([1]))
    tensor(1.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.nll_loss.html
    """
    reduction = checked_reduction(reduction, size_average, reduce)
    require_tensors("nll_loss", input=input, target=target)
    target = _check_classes(input, target, weight)
    refuse("nll_loss_out_frame", input, kinds=NOT_FLOATING)
    record = _nll_loss if input.dim() < 3 else _nll_loss2d
    return record(input, target, weight, ignore_index, reduction)


# --- cross-entropy -------------------------------------------------------------------------------------------


def _along_classes(weight, input):
    """Class weights in a shape that broadcasts against the scores."""
    return weight if input.dim() < 2 else weight.reshape((1, -1) + (1,) * (input.dim() - 2))


def _smoothed(logp, target, weight, ignore_index, reduction, smoothing):
    """Cross-entropy against ``(1 - smoothing)`` at the target's class and the rest spread evenly."""
    dim = 1 if logp.dim() > 1 else 0
    loss = nll_loss(logp, target, weight, None, ignore_index, None, reduction)
    target = target.reshape(()) if dim == 0 else target
    even = -(logp if weight is None else logp * _along_classes(weight, logp)).sum(dim)
    ignored = target == ignore_index
    even = even.masked_fill(ignored, 0)
    if reduction != "none":
        even = even.sum()
    if reduction == "mean":
        if weight is None:
            count = (~ignored).sum()
        else:
            safe = target.masked_fill(ignored, 0).long().reshape(-1)
            count = weight.index_select(0, safe).masked_fill(ignored.reshape(-1), 0).sum()
        even = even / count
    return loss * (1 - smoothing) + even * (smoothing / logp._shape[dim])


def _against_probabilities(logp, target, weight, reduction, smoothing):
    dim = 1 if logp.dim() > 1 else 0
    classes = logp._shape[dim]
    if smoothing > 0:
        target = target * (1 - smoothing) + smoothing / max(classes, 1)
    product = logp * target if weight is None else logp * target * _along_classes(weight, logp)
    if reduction == "none":
        return -product.sum(dim)
    total = -product.sum()
    return total / (logp.numel() / classes if classes else nan) if reduction == "mean" else total


@composite(
    name="nn.functional.cross_entropy",
    samples=lambda make: [
        Sample(make(3, 4), _classes(make, 3)),
        Sample(make(3, 4), _classes(make, 3), make(4, low=0.5, high=2, requires_grad=False), reduction="none"),
        Sample(make(3, 4), _classes(make, 3), label_smoothing=0.3, ignore_index=2),
        Sample(make(3, 4), _classes(make, 3), make(4, low=0.5, high=2, requires_grad=False), label_smoothing=0.3),
        Sample(make(3, 4), make(3, 4, low=0, high=1)),
        Sample(make(3, 4), make(3, 4, low=0, high=1), label_smoothing=0.2, reduction="sum"),
        Sample(make(4), _classes(make)),
        Sample(make(1, 4, 2, 2), _classes(make, 1, 2, 2)),
        Sample(make(1, 4, 2, 2), make(1, 4, 2, 2, low=0, high=1), reduction="none"),
    ],
    errors=lambda make: [
        ErrorSample(ValueError, "batch_size", make(3, 4), _classes(make, 2)),
        ErrorSample(RuntimeError, "label_smoothing must be between", make(3, 4), _classes(make, 3), label_smoothing=2.0),
        ErrorSample(RuntimeError, "Expected floating point type for target", make(3, 4), _classes(make, 3, 4)),
        ErrorSample(RuntimeError, "expected target dtype to be Long", make(3, 4), make(3)),
        ErrorSample(RuntimeError, "cross_entropy: weight tensor", make(3, 4), _classes(make, 3), make(5)),
    ],
)
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""Cross-entropy of unnormalised scores ``input`` (N, C, ...) against ``target``.

    ``target`` holds class numbers (N, ...), or class probabilities (the input's shape, floating-point). For classes,
    :func:`nll_loss` of ``log_softmax(input, 1)``; for probabilities :math:`-\sum_c w_c\,t_c \log softmax(x)_c`, with
    the mean over samples. ``label_smoothing`` :math:`s` puts :math:`1 - s` of the target where it is and spreads the
    rest evenly.

    Raises ``RuntimeError`` for weights and targets that do not fit, ``IndexError`` for a class that is none.

    >>> import flambeau as torch
    >>> torch.nn.functional.cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))
    tensor(1.3863)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html
    """
    reduction = checked_reduction(reduction, size_average, reduce)
    require_tensors("cross_entropy_loss", input=input, target=target)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if not input._shape:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    if target._shape != input._shape:
        refuse("log_softmax_lastdim_kernel_impl", input, kinds=NOT_FLOATING)
    dim = 1 if input.dim() > 1 else 0
    probabilities = target._shape == input._shape
    if probabilities:
        if target._dtype.kind != dtypes.FLOATING:
            raise RuntimeError(
                "Expected floating point type for target with class probabilities, got "
                f"{scalar_name(target._dtype)}: a target of the input's shape {list(input._shape)} is taken for class "
                "probabilities; class numbers have no class dimension"
            )
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
    if weight is not None and weight._shape != (input._shape[dim],):
        raise RuntimeError(
            f"cross_entropy: weight tensor should be defined either for all {input._shape[dim]} classes or no classes "
            f"but got weight tensor of shape: {list(weight._shape)}"
        )
    if not probabilities:
        _check_classes(input, target, weight)
    logp = input.log_softmax(dim)
    if probabilities:
        return _against_probabilities(logp, target, weight, reduction, label_smoothing)
    if label_smoothing > 0:
        return _smoothed(logp, target, weight, ignore_index, reduction, label_smoothing)
    return nll_loss(logp, target, weight, None, ignore_index, None, reduction)


# --- margins between classes ---------------------------------------------------------------------------------


def _rows(input):
    """The input as (samples, classes)."""
    return input if input.dim() > 1 else input.reshape(1, -1)


def _checked_rows(input):
    """The input of a loss of margins as (samples, classes): there may be no samples, but not no classes."""
    if input.dim() > 2 or input.dim() and input._shape[-1] == 0:
        raise RuntimeError(f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input._shape)}")
    return _rows(input)


@composite(
    name="nn.functional.multi_margin_loss",
    samples=lambda make: [
        Sample(make(3, 4), _classes(make, 3), margin=3.0),
        Sample(make(3, 4), _classes(make, 3), p=2, margin=3.0, weight=make(4, low=0.5, high=2, requires_grad=False)),
        Sample(make(4), _classes(make), margin=3.0, reduction="none"),
    ],
    errors=lambda make: [
        ErrorSample(ValueError, "only p == 1 and p == 2 supported", make(3, 4), _classes(make, 3), p=3),
        ErrorSample(RuntimeError, "target tensor should be 1-D", make(3, 4), _classes(make, 2)),
        ErrorSample(RuntimeError, "inconsistent weight size", make(3, 4), _classes(make, 3), weight=make(3)),
    ],
)
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Multi-class hinge loss :math:`\frac1C \sum_{j \ne t} w_t \max(0, margin - x_t + x_j)^p`, :math:`p` 1 or 2.

    ``input`` (N, C), ``target`` (N,) of class numbers; or (C,) and ().

    Raises ``ValueError`` for another ``p`` than 1 and 2, ``RuntimeError`` for targets and weights that do not fit.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.multi_margin_loss(torch.tensor([[0.5, 0.2, 0.8]]), torch.tensor([0]))
    tensor(0.6667)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multi_margin_loss.html
    """
    reduction = checked_reduction(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    rows = _checked_rows(input)
    n, classes = rows._shape
    if target.numel() != n or target.dim() > 1:
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples (batch "
            f"size). Expected target size [{n}], but got {list(target._shape)}. Input has shape {list(input._shape)}."
        )
    if weight is not None and weight._shape != (classes,):
        raise RuntimeError(f"inconsistent weight size, expected {classes} but got {list(weight._shape)}")
    column = target.reshape(n, 1)
    hinge = (margin - rows.gather(1, column) + rows).clamp(min=0)
    if p == 2:
        hinge = hinge * hinge
    if weight is not None:
        hinge = hinge * weight.index_select(0, column.reshape(n)).reshape(n, 1)
    loss = hinge.scatter(1, column, 0).sum(1) / classes
    return reduced(loss if target.dim() else loss.reshape(()), reduction)


@composite(
    name="nn.functional.multilabel_margin_loss",
    samples=lambda make: [
        Sample(make(2, 4, low=-0.4, high=0.4), _classes(make, 2, 4) * 0 + 2),
        Sample(make(2, 3, low=-0.4, high=0.4), _classes(make, 2, 3, n=3), reduction="none"),
        Sample(make(3, low=-0.4, high=0.4), _classes(make, 3, n=3) - 1, reduction="sum"),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "inconsistent target size", make(3, 4), _classes(make, 3, 3))],
)
def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    r"""Hinge loss of several right classes: :math:`\frac1C \sum_{i \in t} \sum_{j \notin t} \max(0, 1 - x_i + x_j)`.

    ``target``, of the input's shape (N, C) or (C,), lists the right classes of each sample, up to the first -1.

    Raises ``RuntimeError`` for a target of another shape.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.multilabel_margin_loss(torch.tensor([0.1, 0.2, 0.4, 0.8]), torch.tensor([3, 0, -1, 1]))
    tensor(0.8500)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multilabel_margin_loss.html
    """
    reduction = checked_reduction(reduction, size_average, reduce)
    scores = _checked_rows(input)
    if target._shape != input._shape:
        raise RuntimeError(f"inconsistent target size: {list(target._shape)} for input of size: {list(input._shape)}")
    labels = _rows(target)
    listed = (labels < 0).cumsum(1) == 0
    labels = labels.masked_fill(~listed, 0)
    right = scores.new_zeros(scores._shape).scatter_add(1, labels, listed.to(scores._dtype)) > 0
    hinge = (1 - scores.gather(1, labels).unsqueeze(2) + scores.unsqueeze(1)).clamp(min=0)
    counted = listed.unsqueeze(2) & ~right.unsqueeze(1)
    loss = hinge.masked_fill(~counted, 0).sum((1, 2)) / scores._shape[1]
    return reduced(loss if input.dim() > 1 else loss.reshape(()), reduction)


@composite(
    name="nn.functional.multilabel_soft_margin_loss",
    samples=lambda make: [
        Sample(make(3, 4), (make(3, 4) > 0).double()),
        Sample(make(3, 4), (make(3, 4) > 0).double(), make(4, requires_grad=False), reduction="none"),
        Sample(make(4), (make(4) > 0).double(), reduction="sum"),
    ],
)
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""The mean over classes of :math:`-w\,(t \log \sigma(x) + (1 - t) \log \sigma(-x))`, for targets of 0 and 1.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.multilabel_soft_margin_loss(torch.tensor([[0.0, 100.0]]), torch.tensor([[1.0, 1.0]]))
    tensor(0.3466)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multilabel_soft_margin_loss.html
    """
    reduction = checked_reduction(reduction, size_average, reduce)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.mean(-1), reduction)


@composite(
    name="nn.functional.linear_cross_entropy",
    samples=lambda make: [
        Sample(make(3, 2), make(4, 2), _classes(make, 3)),
        Sample(make(2, 2), make(3, 2, 2), _classes(make, 2, 2, n=3), linear_bias=make(3), reduction="none"),
    ],
)
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """:func:`cross_entropy` of scores ``linear(input, linear_weight, linear_bias)``.

    ``linear_weight`` (C, in_features), or (C, ..., in_features) for a target (N, ...). ``options``, which in PyTorch say
    how to split the computation, do not change the result.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.linear_cross_entropy(torch.ones(1, 2), torch.zeros(4, 2), torch.tensor([3]))  # log(4)
    tensor(1.3863)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.linear_cross_entropy.html
    """
    *outputs, features = linear_weight._shape
    logits = linear(input, linear_weight.reshape(prod(outputs), features)).reshape(*input._shape[:-1], *outputs)
    if linear_bias is not None:
        logits = logits + linear_bias.reshape(*linear_bias._shape, *[1] * (len(outputs) - linear_bias.dim()))
    ignore_index = -100 if ignore_index is None else ignore_index
    return cross_entropy(logits, target, weight, None, ignore_index, None, reduction, label_smoothing)
