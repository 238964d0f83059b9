"""Attention whose scores a function changes, and whose mask is a function.

The functions take index tensors that broadcast, and are called once for all scores; the mask is kept whole.
Source: https://docs.pytorch.org/docs/stable/nn.attention.flex_attention.html
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from flambeau import ops
from flambeau.core import dtypes
from flambeau.tensor import Tensor

__all__ = [
    "AuxOutput",
    "AuxRequest",
    "BlockMask",
    "and_masks",
    "create_block_mask",
    "create_mask",
    "flex_attention",
    "noop_mask",
    "or_masks",
]

_DEFAULT_SPARSE_BLOCK_SIZE = 128


class AuxRequest(NamedTuple):
    """What :func:`flex_attention` is to return besides: the logarithms of the sums of the exponentials of the scores, and the
    greatest scores of each query."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """What was asked for by an :class:`AuxRequest`, each (B, H, L); ``None`` where it was not."""

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """Lets everything through."""
    return token_q.new_ones((), dtype=ops.gt(token_q, token_q).dtype)


def and_masks(*mask_mods: Callable) -> Callable:
    """What all of the masks let through."""

    def both(b: Tensor, h: Tensor, q: Tensor, kv: Tensor) -> Tensor:
        result = noop_mask(b, h, q, kv)
        for mask in mask_mods:
            result = result & mask(b, h, q, kv)
        return result

    return both


def or_masks(*mask_mods: Callable) -> Callable:
    """What any of the masks lets through."""

    def either(b: Tensor, h: Tensor, q: Tensor, kv: Tensor) -> Tensor:
        result = ~noop_mask(b, h, q, kv)
        for mask in mask_mods:
            result = result | mask(b, h, q, kv)
        return result

    return either


def _indices(batch: int, heads: int, queries: int, keys: int) -> tuple[Tensor, ...]:
    """Indices along each of four dimensions, which broadcast to (batch, heads, queries, keys)."""
    sizes = (batch, heads, queries, keys)
    return tuple(ops.arange(n).reshape([-1 if i == d else 1 for i in range(4)]) for d, n in enumerate(sizes))


def create_mask(mod_fn: Callable, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = "cpu") -> Tensor:
    """The mask (B, H, Q_LEN, KV_LEN) that ``mod_fn(b, h, q, kv)`` describes; True lets through.

    >>> from flambeau.nn.attention.flex_attention import create_mask
    >>> create_mask(lambda b, h, q, kv: q >= kv, 1, 1, 2, 2)
    tensor([[[[ True, False],
              [ True,  True]]]])
    """
    shape = (B or 1, H or 1, Q_LEN, KV_LEN)
    return mod_fn(*_indices(*shape)).expand(shape)


class BlockMask:
    """A mask for :func:`flex_attention`, kept as the function that describes it and as a tensor of booleans."""

    def __init__(self, mask: Tensor, mask_mod: Callable) -> None:
        self.mask, self.mask_mod = mask, mask_mod

    @classmethod
    def from_kv_blocks(
        cls, kv_num_blocks: Tensor, kv_indices: Tensor, full_kv_num_blocks: Tensor | None = None, full_kv_indices: Tensor | None = None,
        BLOCK_SIZE: int | tuple[int, int] = _DEFAULT_SPARSE_BLOCK_SIZE, mask_mod: Callable | None = None, seq_lengths: tuple[int, int] | None = None,
    ) -> BlockMask:  # fmt: skip
        """The mask that says for each block of queries which blocks of keys it sees.

        Args:
            kv_num_blocks: (B, H, blocks of queries), how many blocks of keys ``mask_mod`` decides about.
            kv_indices: (B, H, blocks of queries, blocks of keys), which they are, the first of each row.
            full_kv_num_blocks: the same for the blocks that are seen as a whole, and ``full_kv_indices`` which.
            mask_mod: of single queries and keys; all are seen if it is left out.
            seq_lengths: of queries and keys; whole blocks if it is left out.

        >>> import flambeau as torch
        >>> from flambeau.nn.attention.flex_attention import BlockMask
        >>> BlockMask.from_kv_blocks(torch.tensor([[[1, 2]]]), torch.tensor([[[[1, 0], [0, 1]]]]), BLOCK_SIZE=1).to_dense()
        tensor([[[[False,  True],
                  [ True,  True]]]])
        """
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            raise AssertionError("full_kv_num_blocks and full_kv_indices must be both provided or omitted")
        heights = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
        shape = kv_indices.shape
        queries, keys = seq_lengths or (shape[-2] * heights[0], shape[-1] * heights[1])

        def seen(counts: Tensor, indices: Tensor) -> Tensor:
            listed = ops.arange(shape[-1]) < counts.unsqueeze(-1)
            blocks = ops.zeros(*shape, dtype=dtypes.int64).scatter_add(-1, indices.long(), listed.long()) > 0
            return blocks.repeat_interleave(heights[0], -2).repeat_interleave(heights[1], -1)[..., :queries, :keys]

        def everything(b: Tensor, h: Tensor, q: Tensor, kv: Tensor) -> Tensor:
            return q >= 0

        mask_mod = mask_mod or everything
        mask = seen(kv_num_blocks, kv_indices) & create_mask(mask_mod, shape[0], shape[1], queries, keys)
        if full_kv_num_blocks is not None and full_kv_indices is not None:
            mask = mask | seen(full_kv_num_blocks, full_kv_indices)
        return cls(mask, mask_mod)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.mask.shape)

    def to_dense(self) -> Tensor:
        return self.mask

    def sparsity(self) -> float:
        """How much of the scores is left out, in percent."""
        return 100 * (1 - float(self.mask.float().mean()))


def create_block_mask(
    mask_mod: Callable, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = "cpu",
    BLOCK_SIZE: int | tuple[int, int] = _DEFAULT_SPARSE_BLOCK_SIZE, _compile: bool = False,
) -> BlockMask:  # fmt: skip
    """The mask that ``mask_mod(b, h, q, kv)`` describes."""
    return BlockMask(create_mask(mask_mod, B, H, Q_LEN, KV_LEN), mask_mod)


def flex_attention(
    query: Tensor, key: Tensor, value: Tensor, score_mod: Callable | None = None, block_mask: BlockMask | None = None,
    scale: float | None = None, enable_gqa: bool = False, return_lse: bool = False, kernel_options: Any = None,
    *, return_aux: AuxRequest | None = None,
) -> Any:  # fmt: skip
    """Attention of queries (B, H, L, E) to keys (B, H, S, E) and values (B, H, S, V): (B, H, L, V).

    ``score_mod(score, b, h, q, kv)`` changes the scores before the softmax. With ``enable_gqa`` several heads of queries
    share one of keys. ``return_aux`` says what is returned besides the result, in an :class:`AuxOutput`; ``return_lse`` is the old
    way to ask for the logarithms of the sums of the exponentials of the scores.

    >>> import flambeau as torch
    >>> from flambeau.nn.attention.flex_attention import flex_attention
    >>> q = torch.zeros(1, 1, 2, 4)
    >>> flex_attention(q, q, torch.eye(2).reshape(1, 1, 2, 2), lambda s, b, h, q, kv: s.where(q >= kv, -float("inf")))
    tensor([[[[1.0000, 0.0000],
              [0.5000, 0.5000]]]])
    """
    if return_lse and return_aux is not None:
        raise ValueError(
            "Cannot specify both return_lse and return_aux. return_lse is deprecated, please use return_aux=AuxRequest(lse=True) instead."
        )
    if enable_gqa:
        times = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    elif query.shape[1] != key.shape[1]:
        raise ValueError(
            f"Expect query and key/value to have the same number of heads but got Hq={query.shape[1]} and Hkv={key.shape[1]}. "
            "Try setting enable_gqa=True for GQA."
        )
    scores = (query @ key.mT) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if score_mod is not None:
        scores = score_mod(scores, *_indices(*scores.shape))
    if block_mask is not None:
        mask = block_mask.mask[..., : scores.shape[-2], : scores.shape[-1]]
        scores = scores.masked_fill(~mask, -math.inf)
    lse = scores.logsumexp(-1)
    weights = (scores - lse.unsqueeze(-1)).exp().nan_to_num(0.0)  # a row that sees nothing gives zeros
    result = weights.to(value.dtype) @ value
    if return_aux is not None:
        return result, AuxOutput(lse if return_aux.lse else None, scores.amax(-1) if return_aux.max_scores else None)
    return (result, lse) if return_lse else result
