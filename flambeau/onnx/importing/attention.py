"""Rules of attention, and of what goes with it: rotary embeddings, and writes into a cache of keys."""

from __future__ import annotations

import math
from typing import Any

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.onnx.importing.registry import dtype_of, rule

Tensor = torch.Tensor


def _heads(x: Tensor, count: int | None) -> Tensor:
    """(batch, sequence, heads * size) as (batch, heads, sequence, size)."""
    if x.dim() == 4 or count is None:
        return x
    return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


def _bias(
    shape: tuple[int, int],
    kind: torch.dtype,
    mask: Tensor | None,
    offset: Any,
    causal: bool,
    left: int,
    right: int,
    lengths: Tensor | None,
) -> Tensor | None:
    """What is added to the scores: 0 where a query may look at a key, minus infinity where not, and the given mask.

    ``offset`` is how many keys come before the first query, one number or one of each sample.
    """
    queries, keys = shape
    bias = mask
    if mask is not None:
        bias = torch.zeros(mask.shape, dtype=kind).masked_fill(~mask, -math.inf) if mask.dtype is torch.bool else mask
        if mask.shape[-1] < keys:
            bias = F.pad(bias, [0, keys - mask.shape[-1]], value=-math.inf)
    ahead = (
        torch.arange(keys)
        - torch.arange(queries).unsqueeze(1)
        - (offset.reshape(-1, 1, 1, 1) if isinstance(offset, Tensor) else offset)
    )
    allowed: list[Tensor] = []
    if causal:
        allowed.append(ahead <= 0)
    if left >= 0:
        allowed.append(-ahead <= left)
    if right >= 0:
        allowed.append(ahead <= right)
    if lengths is not None:
        allowed.append(torch.arange(keys) < lengths.reshape(-1, 1, 1, 1))
    for one in allowed:
        part = torch.zeros(one.shape, dtype=kind).masked_fill(~one, -math.inf)
        bias = part if bias is None else bias + part
    return bias


@rule("Attention")
def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, past_key: Tensor | None = None, past_value: Tensor | None = None,
    lengths: Tensor | None = None, *, is_causal: int = 0, kv_num_heads: int | None = None, q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0, scale: float | None = None, softcap: float = 0.0, softmax_precision: int | None = None,
    left_window_size: int = -1, right_window_size: int = -1, outputs: int,
) -> Any:  # fmt: skip
    """Scaled products of queries and keys choose among values; ``lengths`` says how many keys of each sample count.

    A query that may look at no key gets zeros.
    """
    flat = query.dim() == 3
    q, k, v = _heads(query, q_num_heads), _heads(key, kv_num_heads), _heads(value, kv_num_heads)
    if past_key is not None and past_value is not None:
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    present = k, v
    offset: Any = past_key.shape[2] if past_key is not None else 0
    if past_key is None and lengths is not None:
        offset = lengths - q.shape[2]
    bias = _bias((q.shape[2], k.shape[2]), q.dtype, mask, offset, bool(is_causal), left_window_size, right_window_size, lengths)
    if k.shape[1] != q.shape[1]:
        k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], 1) for t in (k, v))
    root = math.sqrt(1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    shown = scores = (q * root) @ (k * root).transpose(-1, -2)
    if softcap > 0:
        scores = torch.tanh(scores / softcap) * softcap
    biased = scores if bias is None else scores + bias
    chances = torch.softmax(biased if softmax_precision is None else biased.to(dtype_of(softmax_precision)), -1)
    if bias is not None:
        chances = torch.where(torch.isneginf(bias.amax(-1, keepdim=True)), torch.zeros_like(chances), chances)
    chances = chances.to(q.dtype)
    y = chances @ v
    if flat:
        y = y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1)
    if outputs == 1:
        return y
    return y, *present, (shown, scores, biased, chances)[qk_matmul_output_mode]


@rule("RotaryEmbedding")
def rotary_embedding(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Turns pairs of elements of each head by an angle of their position."""
    flat = x.dim() == 3
    heads = x.reshape(x.shape[0], x.shape[1], num_heads, -1) if flat else x.transpose(1, 2)  # (batch, sequence, heads, size)
    n = rotary_embedding_dim or heads.shape[-1]
    turned, rest = heads[..., :n], heads[..., n:]
    if positions is not None:
        cos, sin = cos[positions], sin[positions]
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    real, imaginary = cos * a - sin * b, sin * a + cos * b
    made = torch.stack([real, imaginary], -1).flatten(-2) if interleaved else torch.cat([real, imaginary], -1)
    y = torch.cat([made, rest], -1)
    return y.reshape(x.shape) if flat else y.transpose(1, 2)


@rule("TensorScatter")
def tensor_scatter(cache: Tensor, update: Tensor, starts: Tensor | None = None, *, axis: int = -2, mode: str = "linear") -> Tensor:
    """Writes ``update`` into each sample of ``cache`` from its place on."""
    axis %= cache.dim()
    first = torch.zeros(cache.shape[0], dtype=torch.int64) if starts is None else starts
    places = first.unsqueeze(1) + torch.arange(update.shape[axis])  # (batch, sequence)
    if mode == "circular":
        places = places % cache.shape[axis]
    around = [1] * (axis - 1), [1] * (cache.dim() - axis - 1)
    index = places.reshape(cache.shape[0], *around[0], -1, *around[1]).expand(update.shape)
    return cache.scatter(axis, index, update)
