"""Connectionist temporal classification: the loss of label sequences that are not aligned with their input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.ops.loss_reductions import checked_reduction
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

# --- the sums over alignments --------------------------------------------------------------------------------


class _Lattice:
    """The states that an alignment of each sample goes through: its labels, with a blank around and between them.

    Everything has the shape (samples, states); the logarithms are in double precision.
    """

    def __init__(self, log_probs, targets, input_lengths, target_lengths, blank: int) -> None:
        steps, samples, classes = log_probs.shape
        _check_values(steps, targets, input_lengths, target_lengths)
        longest = int(target_lengths.max(initial=0))
        self.labels = np.full((samples, 2 * longest + 1), blank)
        inside = np.arange(longest) < target_lengths[:, None]
        if targets.ndim == 1:
            self.labels[:, 1::2][inside] = targets[: int(target_lengths.sum())]
        else:
            self.labels[:, 1::2] = np.where(inside, targets[:, :longest], blank)
        if self.labels.size and (self.labels.min() < 0 or self.labels.max() >= classes):
            raise RuntimeError(f"ctc_loss: a target is not in label range: expected 0 to {classes - 1}")
        self.steps, self.input_lengths, self.target_lengths = steps, input_lengths, target_lengths
        places = (self.labels + classes * np.arange(samples)[:, None]).ravel()
        self.emissions = (
            log_probs.reshape(steps, samples * classes).take(places, 1).reshape(steps, *self.labels.shape).astype(np.float64)
        )
        # What leaving out the blank between two labels adds: nothing where they differ, else it makes that impossible.
        self.skip = np.full(self.labels.shape, -np.inf)
        self.skip[:, 3::2][self.labels[:, 3::2] != self.labels[:, 1:-2:2]] = 0

    def _ends(self) -> np.ndarray:
        """Which states an alignment may end in: the last label and the blank after it."""
        state = np.arange(self.labels.shape[1])
        last = 2 * self.target_lengths[:, None]
        return (state == last) | (state == last - 1)

    def forward(self) -> np.ndarray:
        """The log-probability of all ways from the start to each state at each step, its emission included."""
        alpha = np.full(self.emissions.shape, -np.inf)
        if not self.steps:
            return alpha
        alpha[0, :, :1] = self.emissions[0, :, :1]
        if self.labels.shape[1] > 1:
            alpha[0, :, 1] = np.where(self.target_lengths > 0, self.emissions[0, :, 1], -np.inf)
        come = _Sums(self.labels.shape)
        for t in range(1, self.steps):
            come.stay[...] = alpha[t - 1]
            np.add(come.total(self.skip), self.emissions[t], out=alpha[t])
        return alpha

    def backward(self) -> np.ndarray:
        """The log-probability of all ways from each state at each step to the end, its emission included."""
        beta = np.full(self.emissions.shape, -np.inf)
        ends = np.where(self._ends(), 0.0, -np.inf)
        leave, turned = _Sums(self.labels.shape), np.full(self.labels.shape, -np.inf)
        turned[:, 2:] = self.skip[:, :1:-1]  # where a way leads on over a blank, states counted from the last one
        for t in range(self.steps - 1, -1, -1):
            if t + 1 < self.steps:
                leave.stay[...] = beta[t + 1, :, ::-1]
                total = leave.total(turned)[:, ::-1]
            else:
                total = np.full(ends.shape, -np.inf)
            last = (self.input_lengths == t + 1)[:, None]
            np.add(np.where(last, ends, total), self.emissions[t], out=beta[t])
        return beta

    def losses(self, alpha: np.ndarray) -> np.ndarray:
        """The negative log-likelihood of each sample."""
        samples = np.arange(len(self.labels))
        if not self.steps:
            final = np.full(self.labels.shape, -np.inf)
        else:
            final = alpha[np.maximum(self.input_lengths - 1, 0), samples]
        final = np.where(self._ends(), final, -np.inf)
        losses = -np.logaddexp.reduce(final, axis=1)
        return np.where(self.input_lengths > 0, losses, np.where(self.target_lengths > 0, np.inf, 0.0))


class _Sums:
    """Logarithms of sums of three numbers whose logarithms are known: for each state its own, ``stay``, and those of the two
    before it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        samples, states = shape
        around = np.full((samples, states + 2), -np.inf)
        self.stay, self.step, self.over = around[:, 2:], around[:, 1:-1], around[:, :-2]
        self.greatest, self.shift = np.empty(shape), np.empty(shape)
        self.parts = np.empty((3, *shape))

    def total(self, skip: np.ndarray) -> np.ndarray:
        """The sums, until it is called again; ``skip`` is added to the number two states before."""
        stay, step, over = self.parts
        np.add(self.over, skip, out=over)
        np.maximum(np.maximum(self.stay, self.step, out=self.greatest), over, out=self.greatest)
        shift = np.maximum(self.greatest, _LOWEST, out=self.shift)  # -inf less itself is no number
        np.subtract(self.stay, shift, out=stay)
        np.subtract(self.step, shift, out=step)
        np.subtract(over, shift, out=over)
        np.maximum(self.parts, _NOTHING, out=self.parts)  # beside 1, the greatest of the three, this counts for nothing
        np.exp(self.parts, out=self.parts)
        stay += step
        stay += over
        return np.add(np.log(stay, out=stay), self.greatest, out=stay)  # -inf where all three are


_LOWEST = np.finfo(np.float64).min
_NOTHING = -700.0
"""The logarithm of a number that is as good as 0, and whose exponential NumPy finds quickly: below, it does not."""


def _check_values(steps: int, targets, input_lengths, target_lengths) -> None:
    if input_lengths.size and input_lengths.max() > steps:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got value {input_lengths.max()} (while checking "
            "arguments for ctc_loss)"
        )
    if min(input_lengths.min(initial=0), target_lengths.min(initial=0)) < 0:
        raise RuntimeError("Expected input_lengths and target_lengths to have value at least 0")
    dim = targets.ndim - 1
    needed = target_lengths.max(initial=0) if dim else target_lengths.sum()
    if targets.shape[dim] < needed:
        raise RuntimeError(
            f"Expected tensor to have size at least {needed} at dimension {dim}, but got size {targets.shape[dim]} for "
            "argument #2 'targets' (while checking arguments for ctc_loss)"
        )


def _loss_kernel(log_probs, targets, input_lengths, target_lengths, blank, zero_infinity):
    lattice = _Lattice(log_probs, targets, input_lengths, target_lengths, blank)
    return lattice.losses(lattice.forward())


def _grad_kernel(grad, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity):
    lattice = _Lattice(log_probs, targets, input_lengths, target_lengths, blank)
    alpha = lattice.forward()
    losses = lattice.losses(alpha)
    # How likely each state is at each step, given the labels.
    likely = np.exp(np.maximum(alpha + lattice.backward() - lattice.emissions + losses[:, None], _NOTHING))
    likely[lattice.emissions == -np.inf] = 0
    expected = _by_class(likely, lattice.labels, log_probs.shape[2])
    # As PyTorch's, the gradient supposes that the input is normalised: it is that of the scores before log_softmax.
    result = (np.exp(log_probs) - expected) * grad[:, None]
    unused = np.arange(len(log_probs))[:, None] >= input_lengths
    if zero_infinity:
        unused = unused | np.isinf(losses)
    result[unused] = 0
    return result


def _by_class(likely, labels, classes: int) -> np.ndarray:
    """What is likely at each step and sample, summed over the states of each class."""
    if np.isfinite(likely).all():
        of_class = (labels[:, None] == np.arange(classes)[:, None]).astype(likely.dtype)  # (samples, classes, states)
        return (of_class @ likely.transpose(1, 2, 0)).transpose(2, 0, 1)
    expected = np.zeros((*likely.shape[:2], classes))
    steps, samples, _ = np.indices(likely.shape, sparse=True)
    np.add.at(expected, (steps, samples, labels), likely)  # what is no number concerns its own class only
    return expected


def _no_second_derivative(g):
    raise RuntimeError("derivative for aten::_ctc_loss_backward is not implemented")


@op(
    name="_ctc_loss_grad",
    tensors="grad log_probs targets input_lengths target_lengths",
    kernel=_grad_kernel,
    grad={"grad": _no_second_derivative, "log_probs": _no_second_derivative},
    method=False,
)
def _ctc_loss_grad(
    grad: Tensor,
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank,
    zero_infinity,
):
    """The gradient of :func:`_ctc_loss`."""
    inputs = (grad, log_probs, targets, input_lengths, target_lengths)
    return log_probs._shape, log_probs._dtype, inputs, {"blank": blank, "zero_infinity": zero_infinity}


def _verify(inputs: tuple, attrs: dict) -> bool:
    log_probs, targets, *lengths = inputs
    known = [dispatch.known(x) for x in lengths]
    if any([x is None for x in known]):
        return False
    _check_values(log_probs._shape[0], targets, *known)
    return True


@op(
    name="_ctc_loss",
    tensors="log_probs targets input_lengths target_lengths",
    verify=_verify,
    kernel=_loss_kernel,
    grad={"log_probs": lambda g, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity: _ctc_loss_grad(
        g, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity)},
    checked=True,
    method=False,
    backward_name="CtcLossBackward0",
)  # fmt: skip
def _ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int,
    zero_infinity: bool,
):
    """The loss of each sample."""
    attrs = {"blank": blank, "zero_infinity": zero_infinity}
    return (log_probs._shape[1],), log_probs._dtype, (log_probs, targets, input_lengths, target_lengths), attrs


# --- the loss ------------------------------------------------------------------------------------------------


def _lengths(value, name: str, samples: int):
    """Lengths given as a tensor or as a tuple of ints."""
    if not isinstance(value, dispatch.Tensor):
        value = dispatch.wrap(np.array(value, np.int64).reshape(-1))
    if value._dtype.kind != dtypes.INTEGRAL:
        raise RuntimeError(f"{name} must be integral")
    value = value.reshape(-1).long()
    if value._shape[0] != samples:
        raise RuntimeError(f"{name} must be of size batch_size: expected {samples}, got {value._shape[0]}")
    return value


@composite(
    name="nn.functional.ctc_loss",
    # Without gradients: PyTorch's, which is followed, is that of the scores before log_softmax.
    samples=lambda make: [
        Sample(
            make(4, 2, 3, requires_grad=False).log_softmax(2), make(2, 2, low=1, high=3, requires_grad=False).long(), (4, 3),
            (2, 1), reduction=r,
        )
        for r in ("none", "mean", "sum")
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "blank must be in", make(4, 2, 3), make(2, 2).long(), (4, 4), (2, 2), 3),
        ErrorSample(RuntimeError, "input_lengths must be of size", make(4, 2, 3), make(2, 2).long(), (4,), (2, 2)),
        ErrorSample(RuntimeError, "value at most 4", make(4, 2, 3), make(2, 2).long(), (4, 5), (2, 2)),
        ErrorSample(RuntimeError, "size at least 3", make(4, 2, 3), make(2, 2).long(), (4, 4), (3, 2)),
    ],
)  # fmt: skip
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    r"""Negative log-likelihood of label sequences, summed over all alignments with the input.

    ``log_probs`` (T, N, C) or (T, C): log-probabilities of the classes at each step, such as ``log_softmax`` gives.
    ``targets`` (N, S), or all labels one after the other; ``input_lengths`` and ``target_lengths`` (N,) say how much of
    each counts. An alignment repeats labels and puts ``blank`` between them. The mean is over samples, after each loss
    has been divided by its target's length. ``zero_infinity``: a target too long for its input counts 0, not infinity.

    Raises ``RuntimeError`` for shapes and lengths that do not fit and for a ``blank`` that is no class.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> log_probs = torch.full((3, 1, 2), 0.5).log()  # 3 steps, blank and one label, all equally likely
    >>> F.ctc_loss(log_probs, torch.tensor([[1]]), [3], [1])  # 6 of 8 paths spell the label
    tensor(0.2877)

    Source: Graves et al., Connectionist Temporal Classification (2006)
    """
    reduction = checked_reduction(reduction)
    if log_probs.dim() not in (2, 3):
        raise RuntimeError(
            f"Expected 3-dimensional tensor, but got {log_probs.dim()}-dimensional tensor for argument #1 'log_probs' "
            "(while checking arguments for ctc_loss)"
        )
    if log_probs._dtype not in (dtypes.float32, dtypes.float64):
        raise NotImplementedError(f"\"ctc_loss_cpu\" not implemented for '{log_probs._dtype}'")
    batched = log_probs.dim() == 3
    probs = log_probs if batched else log_probs.unsqueeze(1)
    samples = probs._shape[1]
    if not 0 <= blank < probs._shape[2]:
        raise RuntimeError(f"blank must be in label range: it is {blank}, there are {probs._shape[2]} classes")
    steps = _lengths(input_lengths, "input_lengths", samples)
    labels = _lengths(target_lengths, "target_lengths", samples)
    targets = targets.long() if targets.dim() in (1, 2) else targets.long().reshape(-1)
    if targets.dim() == 2 and targets._shape[0] != samples:
        raise RuntimeError(
            f"Expected tensor to have size {samples} at dimension 0, but got size {targets._shape[0]} for argument #2 "
            "'targets' (while checking arguments for ctc_loss)"
        )
    loss = _ctc_loss(probs, targets, steps, labels, blank, bool(zero_infinity))
    if zero_infinity:
        loss = loss.masked_fill(loss == float("inf"), 0)
    if reduction == "mean":
        return (loss / labels.clamp(min=1)).mean()
    if reduction == "sum":
        return loss.sum()
    return loss if batched else loss.squeeze(0)
