"""Dropout: elements or whole channels that are left out at random, the others scaled up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.core import random as streams
from flambeau.core.dtypes import scalar_name
from flambeau.core.errors import warn
from flambeau.core.random import default_generator
from flambeau.ops.creation import made, place_of
from flambeau.ops.random import in_memory_order
from flambeau.ops.record import ErrorSample, composite

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- dropout -----------------------------------------------------------------------------------------------------

_SELU_FLOOR = 1.7580993408473766
"""Minus the value that SELU tends to for large negative inputs: scale times alpha of Klambauer et al. (2017)."""


def _dropped(input, p: float, train: bool, *, features: bool = False, alpha: bool = False, inplace: bool = False):
    """``input`` with elements, or whole channels (``features``), dropped with probability ``p``.

    Dropped means 0, or SELU's floor for ``alpha``; the others are scaled (and shifted) so that the mean stays what it was.
    """
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")
    if p == 0 or not train or input.numel() == 0:
        return input
    if features and input.dim() < 2:
        raise RuntimeError(f"Feature dropout requires at least 2 dimensions in the input, got {input.dim()}")
    d = input.dtype
    if d.kind < dtypes.FLOATING:
        raise RuntimeError(f"result type Float can't be cast to the desired output type {scalar_name(d)}")
    if p == 1:
        return input.mul_(0.0) if inplace else input * 0.0
    if alpha:
        scale = 1 / math.sqrt((_SELU_FLOOR**2 * p + 1) * (1 - p))
    else:
        real = np.float64 if d is dtypes.float64 else np.float32  # the division's rounding shows in every value
        scale = float(real(1) / real(1 - p))

    one = 1 if alpha else scale

    def draw(size):
        return streams.bernoulli(default_generator, size, 1 - p, d.np, one)

    if features:
        shape = (*input.shape[:2], *(1,) * (input.dim() - 2))
        kept = made(shape, lambda: draw(shape), d, place_of(input, None), False)
    else:
        kept = in_memory_order(input, draw)
    noise = kept * scale if alpha else kept
    result = input.mul_(noise) if inplace else input * noise
    if not alpha:
        return result
    depth = _SELU_FLOOR * scale
    moved = (kept - 1) * depth + depth * p
    return result.add_(moved) if inplace else result + moved


@composite(tensors="input", method=False)
def dropout(input: Tensor, p: float, train: bool):
    """``input`` with elements dropped with probability ``p`` where ``train``; see :func:`nn.functional.dropout`.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.dropout(torch.ones(6), 0.5, train=True)
    tensor([0., 0., 2., 0., 0., 0.])

    Source: PyTorch's operator ``aten::dropout``.
    """
    return _dropped(input, p, train)


@composite(tensors="input", method=False)
def feature_dropout(input: Tensor, p: float, train: bool):
    """``input`` with whole channels dropped with probability ``p`` where ``train``.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.feature_dropout(torch.ones(1, 4, 2), 0.5, train=True)
    tensor([[[0., 0.],
             [0., 0.],
             [2., 2.],
             [0., 0.]]])

    Source: PyTorch's operator ``aten::feature_dropout``.
    """
    return _dropped(input, p, train, features=True)


@composite(tensors="input", method=False)
def alpha_dropout(input: Tensor, p: float, train: bool):
    """``input`` with elements set to SELU's floor; see :func:`nn.functional.alpha_dropout`.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.alpha_dropout(torch.zeros(4), 0.5, train=True)
    tensor([-0.7792, -0.7792,  0.7792, -0.7792])

    Source: PyTorch's operator ``aten::alpha_dropout``.
    """
    return _dropped(input, p, train, alpha=True)


@composite(tensors="input", method=False)
def feature_alpha_dropout(input: Tensor, p: float, train: bool):
    """``input`` with whole channels set to SELU's floor; see :func:`nn.functional.feature_alpha_dropout`.

    >>> import flambeau as torch
    >>> torch.feature_alpha_dropout(torch.ones(1, 2, 2), 0.5, train=False)
    tensor([[[1., 1.],
             [1., 1.]]])

    Source: PyTorch's operator ``aten::feature_alpha_dropout``.
    """
    return _dropped(input, p, train, features=True, alpha=True)


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _dropout_errors(*shape: int) -> dict:
    return {"errors": lambda make: [ErrorSample(ValueError, "has to be between 0 and 1", make(*shape), 1.5)]}


@composite(name="nn.functional.dropout", **_dropout_errors(3))
def functional_dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False):
    """In training each element becomes 0 with probability ``p``, and the others grow by 1 / (1 - p).

    >>> import flambeau as torch
    >>> torch.nn.functional.dropout(torch.ones(3), p=0.5, training=False)
    tensor([1., 1., 1.])

    Hinton et al. (2012), "Improving neural networks by preventing co-adaptation of feature detectors".
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html
    """
    _check_probability(p)
    return _dropped(input, p, training, inplace=inplace)


@composite(name="nn.functional.alpha_dropout", **_dropout_errors(3))
def functional_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False):
    """Dropout that goes with SELU: it keeps mean and variance.

    Klambauer et al. (2017), "Self-normalizing neural networks".

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> _ = torch.manual_seed(0)
    >>> F.alpha_dropout(torch.zeros(4), training=True)
    tensor([-0.7792, -0.7792,  0.7792, -0.7792])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.alpha_dropout.html
    """
    _check_probability(p)
    return _dropped(input, p, training, alpha=True, inplace=inplace)


@composite(name="nn.functional.feature_alpha_dropout", **_dropout_errors(2, 3))
def functional_feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False):
    """Alpha dropout of whole channels: ``input`` is (N, C, ...).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.feature_alpha_dropout(torch.ones(1, 2, 2))
    tensor([[[1., 1.],
             [1., 1.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.feature_alpha_dropout.html
    """
    _check_probability(p)
    return _dropped(input, p, training, features=True, alpha=True, inplace=inplace)


def _dropped_channels(input, p: float, training: bool, inplace: bool, batched: bool):
    """Feature dropout of (N, C, ...), or of (C, ...) where not ``batched``."""
    if batched:
        return _dropped(input, p, training, features=True, inplace=inplace)
    result = _dropped(input.unsqueeze(0), p, training, features=True, inplace=inplace)
    return input if inplace else result.squeeze(0)


@composite(
    name="nn.functional.dropout1d",
    errors=lambda make: [
        ErrorSample(ValueError, "has to be between 0 and 1", make(2, 3), -0.1),
        ErrorSample(RuntimeError, "Expected 2D or 3D input", make(3)),
    ],
)
def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Dropout of whole channels of (N, C, L) or (C, L).

    Raises ``RuntimeError`` for other than 2 or 3 dims.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> _ = torch.manual_seed(0)
    >>> F.dropout1d(torch.ones(4, 2))
    tensor([[0., 0.],
            [0., 0.],
            [2., 2.],
            [0., 0.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout1d.html
    """
    _check_probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. Note that dropout1d exists to provide "
            "channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional batch dimension "
            "(i.e. 2D or 3D inputs)."
        )
    return _dropped_channels(input, p, training, inplace, input.dim() == 3)


@composite(name="nn.functional.dropout2d", **_dropout_errors(2, 3, 2, 2))
def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Dropout of whole channels of (N, C, H, W). As in PyTorch 3-D input is taken as (N, C, L), with a warning.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> _ = torch.manual_seed(0)
    >>> F.dropout2d(torch.ones(1, 4, 1, 2)).flatten()
    tensor([0., 0., 0., 0., 2., 2., 0., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout2d.html
    """
    _check_probability(p)
    if input.dim() == 3:
        warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired - "
            "input is interpreted as shape (N, C, L), where C is the channel dim. Use dropout1d instead.",
        )
    elif input.dim() != 4:
        _warn_of_dims("dropout2d", input.dim(), "3D or 4D")
    return _dropped(input, p, training, features=True, inplace=inplace)


@composite(name="nn.functional.dropout3d", **_dropout_errors(2, 3, 2, 2, 2))
def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> _ = torch.manual_seed(0)
    >>> F.dropout3d(torch.ones(4, 1, 1, 2)).flatten()
    tensor([0., 0., 0., 0., 2., 2., 0., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout3d.html
    """
    _check_probability(p)
    if input.dim() not in (4, 5):
        _warn_of_dims("dropout3d", input.dim(), "4D or 5D")
    return _dropped_channels(input, p, training, inplace, input.dim() == 5)


def _warn_of_dims(name: str, dim: int, expected: str) -> None:
    warn(
        f"{name}: Received a {dim}-D input to {name}, which is deprecated and will result in an error in a future release. "
        f"To retain the behavior and silence this warning, please use dropout instead: {name} drops whole channels of "
        f"{expected} inputs.",
    )
