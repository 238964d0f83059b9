"""``torch.nn.grad``: the gradients of convolutions by their inputs and weights, as functions.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html#convolution-functions
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau.nn import functional
from flambeau.tensor import Tensor

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]


def _gradient(
    convolution: Callable, shape: Sequence[int], other: Tensor, grad_output: Tensor, of_input: bool, settings: tuple
) -> Tensor:
    """A convolution is linear in both, so where the gradient is taken does not matter."""
    with flambeau.enable_grad():
        x = grad_output.new_zeros(tuple(shape)).requires_grad_()
        y = convolution(x, other, None, *settings) if of_input else convolution(other, x, None, *settings)
    return flambeau.autograd.grad(y, x, grad_output)[0]


def conv1d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv1d`` by its input, whose size is given."""
    return _gradient(functional.conv1d, input_size, weight, grad_output, True, (stride, padding, dilation, groups))


def conv1d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv1d`` by its weight, whose size is given."""
    return _gradient(functional.conv1d, weight_size, input, grad_output, False, (stride, padding, dilation, groups))


def conv2d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv2d`` by its input, whose size is given.

    >>> import flambeau as torch
    >>> from flambeau.nn.grad import conv2d_input
    >>> conv2d_input((1, 1, 2, 2), torch.full((1, 1, 1, 1), 3.0), torch.ones(1, 1, 2, 2)).tolist()
    [[[[3.0, 3.0], [3.0, 3.0]]]]
    """
    return _gradient(functional.conv2d, input_size, weight, grad_output, True, (stride, padding, dilation, groups))


def conv2d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv2d`` by its weight, whose size is given."""
    return _gradient(functional.conv2d, weight_size, input, grad_output, False, (stride, padding, dilation, groups))


def conv3d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv3d`` by its input, whose size is given."""
    return _gradient(functional.conv3d, input_size, weight, grad_output, True, (stride, padding, dilation, groups))


def conv3d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of ``conv3d`` by its weight, whose size is given."""
    return _gradient(functional.conv3d, weight_size, input, grad_output, False, (stride, padding, dilation, groups))
