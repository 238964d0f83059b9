"""Logic on truth values and on bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.core.dtypes import BOOLEAN, COMPLEX, FLOATING
from flambeau.ops.record import ErrorSample, Sample, pointwise
from flambeau.ops.refusals import NOT_INTEGRAL, refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

# --- truth values --------------------------------------------------------------------------------------------


def _truths(make):
    return [
        Sample(make(3, 4) > 0, make(3, 4) > 0),
        Sample(make(4, 3).round().t(), make(4).round()),
        Sample(make().round(), make(2) > 0),
        Sample(make(0, 2), make(2)),
    ]


@pointwise(
    lower=lambda b, x, y: b.and_(b.truth(x), b.truth(y)),
    kernel=np.logical_and,
    tensors="input other",
    only="input other",
    result="bool",
    inplace=True,
    out=True,
    samples=_truths,
)
def logical_and(input: Tensor, other: Tensor):
    """Element-wise "and"; what is not 0 counts as true.

    >>> import flambeau as torch
    >>> torch.logical_and(torch.tensor([True, True]), torch.tensor([0, 3]))
    tensor([False,  True])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logical_and.html
    """
    return (input, other), {}


@pointwise(
    lower=lambda b, x, y: b.or_(b.truth(x), b.truth(y)),
    kernel=np.logical_or,
    tensors="input other",
    only="input other",
    result="bool",
    inplace=True,
    out=True,
    samples=_truths,
)
def logical_or(input: Tensor, other: Tensor):
    """Element-wise "or"; what is not 0 counts as true.

    >>> import flambeau as torch
    >>> torch.logical_or(torch.tensor([True, False]), torch.tensor([0, 0]))
    tensor([ True, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logical_or.html
    """
    return (input, other), {}


@pointwise(kernel=np.logical_xor, tensors="input other", only="input other", result="bool", inplace=True, out=True, samples=_truths)
def logical_xor(input: Tensor, other: Tensor):
    """Element-wise "either, not both"; what is not 0 counts as true.

    >>> import flambeau as torch
    >>> torch.logical_xor(torch.tensor([True, True]), torch.tensor([0, 3]))
    tensor([ True, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logical_xor.html
    """
    return (input, other), {}


@pointwise(
    lower=lambda b, x: b.not_(b.truth(x)),
    kernel=np.logical_not,
    result="bool",
    inplace=True,
    out=True,
    samples=lambda make: [Sample(make(3, 4) > 0), Sample(make(4, 3).round().t()), Sample(make().round())],
)
def logical_not(input: Tensor):
    """Element-wise "not"; what is not 0 counts as true.

    >>> import flambeau as torch
    >>> torch.logical_not(torch.tensor([0.0, 2.5]))
    tensor([ True, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logical_not.html
    """
    return (input,), {}


# --- bits ----------------------------------------------------------------------------------------------------


def _bits(make):
    def integers(*shape):
        return make(*shape, low=-9, high=9).long()

    return [
        Sample(integers(3, 4), integers(3, 4)),
        Sample(integers(4, 3).t(), integers(4)),
        Sample(integers(), integers(2)),
        Sample(integers(0, 2), integers(2)),
        Sample(integers(3), 5),
    ]


def _not_of_floats(make):
    return [ErrorSample(NotImplementedError, "not implemented for 'Double'", make(2), make(2))]


@pointwise(
    lower=lambda b, x, y: b.and_(x, y), kernel=np.bitwise_and, tensors="input other", inplace=True, out=True, samples=_bits, errors=_not_of_floats
)  # fmt: skip
def bitwise_and(input: Tensor | Number | complex, other: Tensor | Number | complex):
    """Element-wise ``input & other`` of integers or bools.

    >>> import flambeau as torch
    >>> torch.bitwise_and(torch.tensor([6, -1]), 3)
    tensor([2, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bitwise_and.html
    """
    refuse("bitwise_and_cpu", input, other, kinds=NOT_INTEGRAL)
    return (input, other), {}


@pointwise(
    lower=lambda b, x, y: b.or_(x, y), kernel=np.bitwise_or, tensors="input other", inplace=True, out=True, samples=_bits, errors=_not_of_floats
)  # fmt: skip
def bitwise_or(input: Tensor | Number | complex, other: Tensor | Number | complex):
    """Element-wise ``input | other`` of integers or bools.

    >>> import flambeau as torch
    >>> torch.bitwise_or(torch.tensor([6, 8]), 3)
    tensor([ 7, 11])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bitwise_or.html
    """
    refuse("bitwise_or_cpu", input, other, kinds=NOT_INTEGRAL)
    return (input, other), {}


@pointwise(
    lower=lambda b, x, y: b.xor(x, y), kernel=np.bitwise_xor, tensors="input other", inplace=True, out=True, samples=_bits, errors=_not_of_floats
)  # fmt: skip
def bitwise_xor(input: Tensor | Number | complex, other: Tensor | Number | complex):
    """Element-wise ``input ^ other`` of integers or bools.

    >>> import flambeau as torch
    >>> torch.bitwise_xor(torch.tensor([6, 3]), 3)
    tensor([5, 0])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bitwise_xor.html
    """
    refuse("bitwise_xor_cpu", input, other, kinds=NOT_INTEGRAL)
    return (input, other), {}


@pointwise(
    lower=lambda b, x: b.not_(x),
    kernel=np.invert,
    inplace=True,
    out="same",
    samples=lambda make: [Sample(make(3, 4) > 0), Sample(make(4, 3, low=-9, high=9).long().t())],
    errors=lambda make: [ErrorSample(NotImplementedError, "not implemented for 'Double'", make(2))],
)
def bitwise_not(input: Tensor):
    """Element-wise ``~input``: all bits of an integer inverted; of a bool, "not".

    >>> import flambeau as torch
    >>> torch.bitwise_not(torch.tensor([0, 5, -1]))
    tensor([-1, -6,  0])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bitwise_not.html
    """
    refuse("bitwise_not_cpu", input, kinds=NOT_INTEGRAL)
    return (input,), {}


def _shifts(make):
    return [
        Sample(make(3, 4, low=-9, high=9).long(), make(3, 4, low=0, high=5).long()),
        Sample(make(3, low=-9, high=9).long(), 2),
        Sample(make(3, low=-9, high=9).long(), 70),
    ]


@pointwise(
    kernel=np.left_shift, tensors="input other", inplace=True, out=True, samples=_shifts, errors=_not_of_floats
)  # fmt: skip
def bitwise_left_shift(input: Tensor | Number | complex, other: Tensor | Number | complex):
    """Element-wise ``input << other``; 0 where all bits are shifted out.

    >>> import flambeau as torch
    >>> torch.bitwise_left_shift(torch.tensor([1, 3]), 2)
    tensor([ 4, 12])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bitwise_left_shift.html
    """
    refuse("lshift_cpu", input, other, kinds=(BOOLEAN, FLOATING, COMPLEX))
    return (input, other), {}


@pointwise(
    kernel=np.right_shift, tensors="input other", inplace=True, out=True, samples=_shifts, errors=_not_of_floats
)  # fmt: skip
def bitwise_right_shift(input: Tensor | Number | complex, other: Tensor | Number | complex):
    """Element-wise ``input >> other``, keeping the sign.

    >>> import flambeau as torch
    >>> torch.bitwise_right_shift(torch.tensor([8, -8]), 2)
    tensor([ 2, -2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bitwise_right_shift.html
    """
    refuse("rshift_cpu", input, other, kinds=(BOOLEAN, FLOATING, COMPLEX))
    return (input, other), {}
