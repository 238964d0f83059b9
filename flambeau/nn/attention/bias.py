"""``torch.nn.attention.bias``: masks of causal attention where queries and keys are not as many.

Source: https://docs.pytorch.org/docs/stable/nn.attention.bias.html
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

import flambeau
from flambeau.tensor import Tensor

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(IntEnum):
    """Which corner the diagonal goes through: the first query sees one key, or the last query sees all."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias(Tensor):
    """A mask for ``scaled_dot_product_attention``, True where a query sees a key.

    Attention knows its form, so a mask of the upper left corner, or of as many queries as keys, is computed as ``is_causal=True``.
    """

    variant: CausalVariant
    seq_len_q: int
    seq_len_kv: int

    def __new__(cls, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> CausalBias:
        diagonal = seq_len_kv - seq_len_q if variant is CausalVariant.LOWER_RIGHT else 0
        made: Any = flambeau.ones(seq_len_q, seq_len_kv, dtype=flambeau.bool).tril(diagonal).as_subclass(cls)
        return made

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> None:
        self.variant, self.seq_len_q, self.seq_len_kv = variant, seq_len_q, seq_len_kv
        if variant is CausalVariant.LOWER_RIGHT and seq_len_q > seq_len_kv:
            warnings.warn("Lower right causal bias will produce NaNs in the output when seq_len_q > seq_len_kv!", stacklevel=3)

    def _materialize(self, device: Any = None) -> Tensor:
        """The mask as an ordinary tensor."""
        return self.as_subclass(Tensor).to(device)

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        attention = flambeau.nn.functional.scaled_dot_product_attention
        if func is not attention:
            return super().__torch_function__(func, types, args, kwargs)  # type: ignore[misc]
        call = inspect.signature(attention).bind(*args, **(kwargs or {}))
        bias = call.arguments["attn_mask"]
        if call.arguments.get("is_causal"):
            raise ValueError("CausalBias should not be used with causal=True")
        if bias.variant is CausalVariant.UPPER_LEFT or bias.seq_len_q == bias.seq_len_kv:
            call.arguments.update(attn_mask=None, is_causal=True)
        else:
            call.arguments["attn_mask"] = bias._materialize()
        return attention(*call.args, **call.kwargs)


def _made(variant: CausalVariant, size: tuple[int, ...]) -> CausalBias:
    if len(size) != 2:
        raise RuntimeError(f"causal_{variant.name.lower()} only supports 2D tensors, got {size}")
    return CausalBias(variant, *size)


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
