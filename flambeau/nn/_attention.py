"""Multi-head attention as one function: ``nn.functional.multi_head_attention_forward``."""

from __future__ import annotations

import math
import warnings

from flambeau import ops
from flambeau.core import dtypes
from flambeau.nn import functional as F
from flambeau.tensor import Tensor


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of `num_heads` heads: query (L, N, E), key (S, N, ...) and value (S, N, ...).

    Each head is softmax(q k^T / sqrt(E / heads) + mask) v of its part of the projected inputs; the
    heads are joined and projected once more. Without N the inputs are one sample.

    Returns the output (L, N, E) and, with `need_weights`, the weights: (N, L, S), or with
    ``average_attn_weights=False`` (N, heads, L, S).

    Vaswani et al. (2017), Attention is all you need.
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        # One object that serves as query, key and value stays one.
        query, key, value = _keeping_identity(lambda t: t.unsqueeze(1), query, key, value)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    length, batch, embed_dim = query.shape
    source = key.shape[0]
    head_dim = embed_dim // num_heads

    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    if embed_dim != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed_dim}"
        )
    if head_dim * num_heads != embed_dim:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    key_padding_mask = _as_float_mask(key_padding_mask, "key_padding_mask", attn_mask, query.dtype)
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None  # the fused function masks by itself
    else:
        attn_mask = _as_float_mask(attn_mask, "attn_mask", None, query.dtype)
        is_causal = False

    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
            )
        biases = in_proj_bias.chunk(3) if in_proj_bias is not None else (None, None, None)
        q = F.linear(query, q_proj_weight, biases[0])
        k = F.linear(key, k_proj_weight, biases[1])
        v = F.linear(value, v_proj_weight, biases[2])
    else:
        if key.shape != value.shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        q, k, v = _project_in(query, key, value, in_proj_weight, in_proj_bias)

    if attn_mask is not None:
        attn_mask = _check_mask(attn_mask, length, source, batch * num_heads)
    if bias_k is not None and bias_v is not None:
        k = ops.cat([k, bias_k.repeat(1, batch, 1)])
        v = ops.cat([v, bias_v.repeat(1, batch, 1)])
        attn_mask, key_padding_mask = _widen(attn_mask), _widen(key_padding_mask)

    # (length, batch, heads * head_dim) to (batch * heads, length, head_dim)
    def split_heads(t: Tensor) -> Tensor:
        return t.reshape(t.shape[0], batch * num_heads, head_dim).transpose(0, 1)

    q = split_heads(q)
    k = split_heads(k) if static_k is None else static_k
    v = split_heads(v) if static_v is None else static_v
    if add_zero_attn:
        zeros = k.new_zeros((batch * num_heads, 1, head_dim))
        k = ops.cat([k, zeros], dim=1)
        v = ops.cat([v, zeros], dim=1)
        attn_mask, key_padding_mask = _widen(attn_mask), _widen(key_padding_mask)
    source = k.shape[1]

    if key_padding_mask is not None:
        padding = key_padding_mask.reshape(batch, 1, 1, source).expand(-1, num_heads, -1, -1)
        padding = padding.reshape(batch * num_heads, 1, source)
        attn_mask = padding if attn_mask is None else attn_mask + padding

    dropout_p = dropout_p if training else 0.0
    weights = None
    if need_weights:
        scores = (q * math.sqrt(1.0 / head_dim)).bmm(k.transpose(-2, -1))
        if attn_mask is not None:
            scores = attn_mask + scores
        weights = F.softmax(scores, dim=-1)
        if dropout_p > 0.0:
            weights = F.dropout(weights, p=dropout_p)
        output = weights.bmm(v).transpose(0, 1).reshape(length * batch, embed_dim)
        weights = weights.reshape(batch, num_heads, length, source)
        if average_attn_weights:
            weights = weights.mean(dim=1)
    else:
        if attn_mask is not None:
            if attn_mask.shape[0] == 1:
                attn_mask = attn_mask.unsqueeze(0)
            else:
                attn_mask = attn_mask.reshape(batch, num_heads, -1, source)
        output = F.scaled_dot_product_attention(
            q.reshape(batch, num_heads, length, head_dim),
            k.reshape(batch, num_heads, source, head_dim),
            v.reshape(batch, num_heads, source, head_dim),
            attn_mask,
            dropout_p,
            is_causal,
        )
        output = output.permute(2, 0, 1, 3).reshape(length * batch, embed_dim)

    output = F.linear(output, out_proj_weight, out_proj_bias).reshape(length, batch, -1)
    if not batched:
        output = output.squeeze(1)
        weights = None if weights is None else weights.squeeze(0)
    return output, weights


def _keeping_identity(fn, query: Tensor, key: Tensor, value: Tensor) -> tuple:
    """`fn` of each; what was one object comes out as one object."""
    q = fn(query)
    k = q if key is query else fn(key)
    v = k if value is key else fn(value)
    return q, k, v


def _check_shapes(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    num_heads: int,
) -> bool:
    """Whether the inputs are batched; raises where they do not agree."""
    n = query.dim()
    if n not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {n}-D query tensor"
        )
    batched = n == 3
    word = "batched" if batched else "unbatched"
    if key.dim() != n or value.dim() != n:
        raise AssertionError(
            f"For {word} ({n}-D) `query`, expected `key` and `value` to be {n}-D"
            f" but found {key.dim()}-D and {value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != n - 1:
        raise AssertionError(
            f"For {word} ({n}-D) `query`, expected `key_padding_mask` to be `None` or {n - 1}-D"
            f" but found {key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None and attn_mask.dim() not in (2, 3):
        raise AssertionError(
            f"For {word} ({n}-D) `query`, expected `attn_mask` to be `None`, 2-D or 3-D"
            f" but found {attn_mask.dim()}-D tensor instead"
        )
    if not batched and attn_mask is not None and attn_mask.dim() == 3:
        expected = (num_heads, query.shape[0], key.shape[0])
        if tuple(attn_mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {attn_mask.shape}")
    return batched


def _as_float_mask(
    mask: Tensor | None, name: str, other: Tensor | None, dtype: dtypes.dtype
) -> Tensor | None:
    """A boolean mask (True: leave out) as numbers that are added to the scores."""
    if mask is None or mask.is_floating_point():
        if mask is not None and other is not None and other.dtype != mask.dtype:
            _warn_mismatch(name)
        return mask
    if mask.dtype != dtypes.bool:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if other is not None and other.dtype != mask.dtype:
        _warn_mismatch(name)
    return ops.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf"))


def _warn_mismatch(name: str) -> None:
    warnings.warn(
        f"Support for mismatched {name} and attn_mask is deprecated. Use same type for both instead.",
        stacklevel=4,
    )


def _check_mask(mask: Tensor, length: int, source: int, heads: int) -> Tensor:
    """The attention mask as (1 or batch * heads, length, source)."""
    expected = (length, source) if mask.dim() == 2 else (heads, length, source)
    if tuple(mask.shape) != expected:
        raise RuntimeError(
            f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}."
        )
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def _widen(mask: Tensor | None) -> Tensor | None:
    """One more key that is not masked."""
    return None if mask is None else F.pad(mask, (0, 1))


def _project_in(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, ...]:
    """Query, key and value through their thirds of `weight`, in as few products as possible."""
    size = query.shape[-1]
    if key is value and query is key:
        return F.linear(query, weight, bias).chunk(3, dim=-1)
    if key is value:
        w_q, w_kv = weight.split([size, 2 * size])
        b_q, b_kv = (None, None) if bias is None else bias.split([size, 2 * size])
        k, v = F.linear(key, w_kv, b_kv).chunk(2, dim=-1)
        return F.linear(query, w_q, b_q), k, v
    weights = weight.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return tuple(F.linear(t, w, b) for t, w, b in zip((query, key, value), weights, biases))
