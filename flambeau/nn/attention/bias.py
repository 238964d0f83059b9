"""``torch.nn.attention.bias``: masks of causal attention where queries and keys are not as many.

Source: https://docs.pytorch.org/docs/stable/nn.attention.bias.html
"""

from __future__ import annotations

from enum import IntEnum

import flambeau
from flambeau.tensor import Tensor

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(IntEnum):
    """Which corner the diagonal goes through: the first query sees one key, or the last query sees all."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias(Tensor):
    """A mask for ``scaled_dot_product_attention``, True where a query sees a key; made by the functions below."""

    variant: CausalVariant
    seq_len_q: int
    seq_len_kv: int


def _made(variant: CausalVariant, size: tuple[int, ...]) -> CausalBias:
    if len(size) != 2:
        raise RuntimeError(f"{variant.name.lower()} only supports 2D tensors, got {size}")
    q, kv = size
    mask = flambeau.ones(q, kv, dtype=flambeau.bool).tril(kv - q if variant is CausalVariant.LOWER_RIGHT else 0).as_subclass(CausalBias)
    mask.variant, mask.seq_len_q, mask.seq_len_kv = variant, q, kv
    return mask


def causal_upper_left(*size: int) -> CausalBias:
    """The mask ``(queries, keys)`` in which query i sees the keys up to i.

    >>> from flambeau.nn.attention.bias import causal_upper_left
    >>> causal_upper_left(2, 3).tolist()
    [[True, False, False], [True, True, False]]
    """
    return _made(CausalVariant.UPPER_LEFT, size)


def causal_lower_right(*size: int) -> CausalBias:
    """The mask ``(queries, keys)`` in which the last query sees all keys.

    >>> from flambeau.nn.attention.bias import causal_lower_right
    >>> causal_lower_right(2, 3).tolist()
    [[True, True, False], [True, True, True]]
    """
    return _made(CausalVariant.LOWER_RIGHT, size)
