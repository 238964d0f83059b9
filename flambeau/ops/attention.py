"""Attention: scaled dot products, and several heads of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.ops.joining import cat
from flambeau.ops.linear import linear
from flambeau.ops.padding import pad
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.random_dropout import functional_dropout as dropout
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- one head ------------------------------------------------------------------------------------------------


def _check_heads(query, key, value, attn_mask, is_causal: bool) -> None:
    require_tensors("scaled_dot_product_attention", query=query, key=key, value=value)
    dims = (query.dim(), key.dim(), value.dim())
    if min(dims) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: {} key.dim: {} and "
            "value.dim: {} instead.".format(*dims)
        )
    kinds = (query._dtype, key._dtype, value._dtype)
    if len(set(kinds)) > 1:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: {} key.dtype: {} and "
            "value.dtype: {} instead.".format(*[d.name for d in kinds])
        )
    if attn_mask is None:
        return
    if is_causal:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if attn_mask._dtype not in (dtypes.bool, dtypes.float32, query._dtype) or (
        attn_mask._dtype is dtypes.float32 and query._dtype is dtypes.float64
    ):
        raise RuntimeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
            f"{attn_mask._dtype.name} and  query.dtype: {query._dtype.name} instead."
        )


def _shared_heads(query, key, value):
    """Key and value repeated for groups of query heads (grouped-query attention)."""
    heads = query._shape[-3]
    if heads == key._shape[-3] == value._shape[-3]:
        return key, value
    if any(not n or heads % n for n in (key._shape[-3], value._shape[-3])):
        raise RuntimeError(
            f"Number of heads in key and value must divide the number of heads in query, but got {heads} heads in query, "
            f"{key._shape[-3]} in key and {value._shape[-3]} in value"
        )
    return (
        key.repeat_interleave(heads // key._shape[-3], -3),
        value.repeat_interleave(heads // value._shape[-3], -3),
    )


# The op proper takes (batch, heads, L, E). It gives (batch, L, heads, V) where it is asked for ``rows_first``, as the query
# lies in memory that is one of several heads side by side: joining them again then copies nothing. The weights are not kept:
# the largest score and the sum of each row are, from which the gradient makes them again.


def _scores(query, key, causal: bool, scale: float) -> np.ndarray:
    scores = np.matmul(query, key.swapaxes(-1, -2)) * scale
    return np.where(np.tri(*scores.shape[-2:], dtype=np.bool_), scores, scores.dtype.type(-np.inf)) if causal else scores


def _laid_out(x: np.ndarray, rows_first: bool) -> np.ndarray:
    return np.ascontiguousarray(x.swapaxes(1, 2) if rows_first else x)


def _attention_kernel(query, key, value, causal, scale, rows_first):
    scores = _scores(query, key, causal, scale)
    top = scores.max(-1, keepdims=True)
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    return _laid_out(np.matmul(weights, value) / total, rows_first), top[..., 0], total[..., 0]


def _attention_grad_kernel(g, query, key, value, out, top, total, causal, scale, rows_first):
    weights = np.exp(_scores(query, key, causal, scale) - top[..., None]) / total[..., None]
    if rows_first:
        g, out = g.swapaxes(1, 2), out.swapaxes(1, 2)
    mean = (g * out).sum(-1)
    slopes = weights * (np.matmul(g, value.swapaxes(-1, -2)) - mean[..., None]) * scale
    if causal:  # 0 times what is infinite would be NaN
        slopes = np.where(np.tri(*slopes.shape[-2:], dtype=np.bool_), slopes, slopes.dtype.type(0))
    made = np.matmul(slopes, key), np.matmul(slopes.swapaxes(-1, -2), query), np.matmul(weights.swapaxes(-1, -2), g)
    return tuple([_laid_out(x, rows_first) for x in made])


@op(
    name="_attention_grad",
    tensors="g query key value out top total",
    kernel=_attention_grad_kernel,
    outputs=("query", "key", "value"),
    method=False,
)
def _attention_grad(
    g: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    top: Tensor,
    total: Tensor,
    causal,
    scale,
    rows_first,
):
    """The gradients that ``_attention`` needs, laid out as its result is."""
    shapes = tuple([_shape_of(x._shape, rows_first) for x in (query, key, value)])
    attrs = {"causal": causal, "scale": scale, "rows_first": rows_first}
    return shapes, (query._dtype,) * 3, (g, query, key, value, out, top, total), attrs


def _shape_of(shape: tuple[int, ...], rows_first: bool) -> tuple[int, ...]:
    batch, heads, rows, columns = shape
    return (batch, rows, heads, columns) if rows_first else (batch, heads, rows, columns)


def _grad_of_attention(gs, needs, query, key, value, out, top, total, causal, scale, rows_first):
    g = gs[0]
    if not dispatch.grad_mode.enabled:
        g = g if g.stride()[-1] == 1 else g.contiguous()
        made = _attention_grad(g, query, key, value, out, top, total, causal, scale, rows_first)
        grads = [x.transpose(1, 2) if rows_first else x for x in made]
        return tuple([x if needed else None for x, needed in zip(grads, needs, strict=True)])
    # The gradient is to be differentiated in turn.
    g, weights = g.transpose(1, 2) if rows_first else g, _weights(query, key, None, causal, scale)
    slopes = g @ value.mT
    slopes = weights * (slopes - (slopes * weights).sum(-1, keepdim=True)) * scale
    return slopes @ key, slopes.mT @ query, weights.mT @ g


@op(
    name="_attention",
    tensors="query key value",
    kernel=_attention_kernel,
    grad={"*": _grad_of_attention},
    outputs=("out", "top", "total"),
    nondifferentiable=("top", "total"),
    method=False,
    backward_name="ScaledDotProductFlashAttentionForCpuBackward0",
)
def _attention(query: Tensor, key: Tensor, value: Tensor, causal, scale, rows_first):
    """Attention over (batch, heads, L, E), and of each row the largest score and the sum of the weights before division."""
    stats = query._shape[:3]
    shapes = (_shape_of((*stats, value._shape[3]), rows_first), stats, stats)
    attrs = {"causal": causal, "scale": scale, "rows_first": rows_first}
    return shapes, (query._dtype,) * 3, (query, key, value), attrs


def _is_plain(query, key, value) -> bool:
    """Whether these are matrices for each head of each element of a batch (or for each head alone), none of them empty."""
    q, k, v = query._shape, key._shape, value._shape
    same = len(q) in (3, 4) and q[:-2] == k[:-2] == v[:-2] and q[-1] == k[-1] and k[-2] == v[-2]
    return same and 0 not in (*q, *v) and query._dtype in (dtypes.float32, dtypes.float64)


def _weights(query, key, attn_mask, is_causal: bool, scale: float):
    """The weights of each query, (*, L, S)."""
    scores = (query * scale) @ key.transpose(-2, -1)
    if is_causal:
        allowed = query.new_ones(scores._shape[-2:], dtype=dtypes.bool).tril()
        scores = scores.masked_fill(~allowed, float("-inf"))
    if attn_mask is None:
        return scores.softmax(-1)
    if attn_mask._dtype is dtypes.bool:
        scores = scores.masked_fill(~attn_mask, float("-inf"))
    else:
        scores = scores + attn_mask.to(scores._dtype)
    nothing = (scores == float("-inf")).all(-1, keepdim=True)
    return scores.softmax(-1).masked_fill(nothing, 0)


@composite(
    name="nn.functional.scaled_dot_product_attention",
    samples=lambda make: [
        Sample(make(2, 3, 4), make(2, 5, 4), make(2, 5, 2)),
        Sample(make(1, 2, 3, 2), make(1, 2, 3, 2), make(1, 2, 3, 2), is_causal=True),
        Sample(make(3, 2), make(2, 2), make(2, 3), make(3, 2), scale=0.3),
        Sample(make(3, 2), make(2, 2), make(2, 3), make(3, 2) > -3),
        Sample(make(4, 2, 2), make(2, 3, 2), make(2, 3, 2), enable_gqa=True),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "at least 2 dimensional", make(3), make(3), make(3)),
        ErrorSample(RuntimeError, "the same dtype", make(3, 2), make(3, 2).float(), make(3, 2)),
        ErrorSample(RuntimeError, "should not be set", make(3, 2), make(3, 2), make(3, 2), make(3, 3), is_causal=True),
        ErrorSample(RuntimeError, "Expected attn_mask dtype", make(3, 2), make(3, 2), make(3, 2), make(3, 3).long()),
    ],
)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    r""":math:`softmax(q k^T scale + mask)\,v` for query (\*, L, E), key (\*, S, E) and value (\*, S, V): (\*, L, V).

    ``scale`` is by default :math:`1 / \sqrt E`. ``attn_mask``, which broadcasts to (\*, L, S), is added, or if it is
    boolean says where to attend; a query that may attend to nothing gives zeros. ``is_causal`` lets query i attend to
    keys up to i. ``dropout_p`` applies to the weights, always. ``enable_gqa`` shares key and value heads (dim -3) among
    groups of query heads.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> q, k, v = torch.zeros(1, 2, 4), torch.zeros(1, 2, 4), torch.tensor([[[1.0], [3.0]]])
    >>> F.scaled_dot_product_attention(q, k, v, is_causal=True)
    tensor([[[1.],
             [2.]]])

    Source: Vaswani et al., Attention Is All You Need (2017), https://arxiv.org/abs/1706.03762
    """
    _check_heads(query, key, value, attn_mask, is_causal)
    kind = query._dtype
    if query._dtype.itemsize == 2:  # all but the result in full precision
        query, key, value = query.float(), key.float(), value.float()
        if attn_mask is not None and attn_mask._dtype is kind:
            attn_mask = attn_mask.float()
        result = scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
        return result.to(kind)
    if enable_gqa:
        key, value = _shared_heads(query, key, value)
    scale = 1 / math.sqrt(max(query._shape[-1], 1)) if scale is None else scale
    if attn_mask is None and not dropout_p and _is_plain(query, key, value):
        if query.dim() == 3:
            heads = [x.unsqueeze(1) for x in (query, key, value)]
            return _attention(*heads, bool(is_causal), float(scale), False)[0].squeeze(1)
        _, across, down, _ = query.stride()
        rows_first = across < down and query._shape[2] > 1
        out = _attention(query, key, value, bool(is_causal), float(scale), rows_first)[0]
        return out.transpose(1, 2) if rows_first else out
    weights = _weights(query, key, attn_mask, is_causal, scale)
    if dropout_p:
        weights = dropout(weights, dropout_p)
    return weights @ value


# --- several heads -------------------------------------------------------------------------------------------


def _require(condition: bool, message: str) -> None:
    """Raises what PyTorch, which uses ``assert`` here, raises."""
    if not condition:
        raise AssertionError(message)


def _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads: int) -> bool:
    """Whether the input is batched."""
    dims = query.dim()
    _require(dims in (2, 3), f"query should be unbatched 2D or batched 3D tensor but received {dims}-D query tensor")
    batched = dims == 3
    how = "batched" if batched else "unbatched"
    _require(
        key.dim() == dims and value.dim() == dims,
        f"For {how} ({dims}-D) `query`, expected `key` and `value` to be {dims}-D but found {key.dim()}-D and "
        f"{value.dim()}-D tensors respectively",
    )
    if key_padding_mask is not None:
        _require(
            key_padding_mask.dim() == dims - 1,
            f"For {how} ({dims}-D) `query`, expected `key_padding_mask` to be `None` or {dims - 1}-D but found "
            f"{key_padding_mask.dim()}-D tensor instead",
        )
    if attn_mask is not None:
        _require(
            attn_mask.dim() in (2, 3),
            f"For {how} ({dims}-D) `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D "
            "tensor instead",
        )
        if not batched and attn_mask.dim() == 3:
            expected = (num_heads, query._shape[0], key._shape[0])
            _require(attn_mask._shape == expected, f"Expected `attn_mask` shape to be {expected} but got {attn_mask._shape}")
    return batched


def _added(mask, name: str, dtype):
    """A mask as numbers to be added: a boolean one is -inf where it is true."""
    if mask is None or mask._dtype.kind == dtypes.FLOATING:
        return mask
    _require(mask._dtype is dtypes.bool, f"only bool and floating types of {name} are supported")
    return mask.new_zeros(mask._shape, dtype=dtype).masked_fill(mask, float("-inf"))


def _in_heads(x, parts: int, batch: int, heads: int, head_dim: int):
    """The parts of (L, batch, parts * E), each as (batch, heads, L, head_dim); views where the memory allows it."""
    return x.reshape(x._shape[0], batch, parts, heads, head_dim).permute(2, 1, 3, 0, 4).unbind(0)


def _project(query, key, value, weight, bias, sizes: tuple[int, int, int]):
    """The heads of query, key and value through one packed weight (3 E, E); one product where they are the same tensor.

    ``sizes`` are those of the batch, how many heads there are, and theirs.
    """
    e = query._shape[-1]
    if key is value:
        if query is key:
            return _in_heads(linear(query, weight, bias), 3, *sizes)
        q_bias, kv_bias = (None, None) if bias is None else bias.split([e, 2 * e])
        q_weight, kv_weight = weight.split([e, 2 * e])
        of_query = _in_heads(linear(query, q_weight, q_bias), 1, *sizes)
        return (*of_query, *_in_heads(linear(key, kv_weight, kv_bias), 2, *sizes))
    weights = weight.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return _project_apart((query, key, value), weights, biases, sizes)


def _project_apart(inputs, weights, biases, sizes: tuple[int, int, int]):
    """The heads of each input through a weight of its own."""
    width = inputs[0]._shape[-1]
    for name, x, w in zip(("query", "key", "value"), inputs, weights, strict=True):
        expected = (width, x._shape[-1])
        _require(w._shape == expected, f"expecting {name} weights shape of {expected}, but got {w._shape}")
    return [_in_heads(linear(x, w, b), 1, *sizes)[0] for x, w, b in zip(inputs, weights, biases, strict=True)]


def _check_attn_mask(attn_mask, heads: int, target: int, source: int):
    """The mask as (1 or heads, target, source)."""
    dims = attn_mask.dim()
    expected = (target, source) if dims == 2 else (heads, target, source)
    if attn_mask._shape != expected:
        raise RuntimeError(f"The shape of the {dims}D attn_mask is {attn_mask._shape}, but should be {expected}.")
    return attn_mask.unsqueeze(0) if dims == 2 else attn_mask


def _check_static(t, name: str, heads: int, head_dim: int):
    _require(
        t._shape[0] == heads and t._shape[2] == head_dim,
        f"expecting {name} of shape ({heads}, *, {head_dim}), but got {tuple(t._shape)}",
    )
    return t


@composite(
    name="nn.functional.multi_head_attention_forward",
    samples=lambda make: [
        Sample(
            make(3, 2, 4), make(3, 2, 4), make(3, 2, 4), 4, 2, make(12, 4), make(12), None, None, False, 0.0, make(4, 4),
            make(4),
        ),
        Sample(
            make(2, 4), make(3, 4), make(3, 4), 4, 2, make(12, 4), None, make(1, 1, 4), make(1, 1, 4), True, 0.0,
            make(4, 4), None, need_weights=False, attn_mask=make(2, 3),
        ),
    ],
    errors=lambda make: [
        ErrorSample(
            AssertionError, "was expecting embedding dimension of 6", make(3, 2, 4), make(3, 2, 4), make(3, 2, 4), 6, 2,
            make(12, 4), None, None, None, False, 0.0, make(4, 4), None,
        ),
        ErrorSample(
            RuntimeError, "Need attn_mask", make(3, 2, 4), make(3, 2, 4), make(3, 2, 4), 4, 2, make(12, 4), None, None, None,
            False, 0.0, make(4, 4), None, is_causal=True,
        ),
    ],
)  # fmt: skip
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
):
    """What ``nn.MultiheadAttention`` computes: projections, attention in each head, and a projection of the results.

    ``query`` (L, N, E), ``key`` and ``value`` (S, N, E), or without N. Returns the output (L, N, E) and, with
    ``need_weights``, the weights (N, L, S), the mean over heads unless ``average_attn_weights`` is false. In boolean
    masks true means *not* to attend: ``key_padding_mask`` (N, S), ``attn_mask`` (L, S) or (N heads, L, S).

    Raises ``RuntimeError`` for shapes that do not fit and for ``is_causal`` without a mask.

    >>> import flambeau as torch
    >>> attention = torch.nn.MultiheadAttention(4, num_heads=2)  # which calls it
    >>> output, weights = attention(torch.ones(3, 1, 4), torch.ones(5, 1, 4), torch.ones(5, 1, 4))
    >>> output.shape, weights.shape
    (torch.Size([3, 1, 4]), torch.Size([1, 3, 5]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        same = key is query, value is key
        query = query.unsqueeze(1)
        key = query if same[0] else key.unsqueeze(1)
        value = key if same[1] else value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    target, batch, embed_dim = query._shape
    source = key._shape[0]
    heads = batch * num_heads

    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    key_padding_mask = _added(key_padding_mask, "key_padding_mask", query._dtype)
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None
    else:
        attn_mask = _added(attn_mask, "attn_mask", query._dtype)
        is_causal = False
    _require(
        embed_dim == embed_dim_to_check,
        f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed_dim}",
    )
    head_dim = embed_dim // num_heads
    _require(head_dim * num_heads == embed_dim, f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")

    if use_separate_proj_weight:
        _require(
            key._shape[:2] == value._shape[:2],
            f"key's sequence and batch dims {key._shape[:2]} do not match value's {value._shape[:2]}",
        )
        for name, weight in (("q", q_proj_weight), ("k", k_proj_weight), ("v", v_proj_weight)):
            _require(weight is not None, f"use_separate_proj_weight is True but {name}_proj_weight is None")
        biases = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        projections = (q_proj_weight, k_proj_weight, v_proj_weight)
        q, k, v = _project_apart((query, key, value), projections, biases, (batch, num_heads, head_dim))
    else:
        _require(key._shape == value._shape, f"key shape {key._shape} does not match value shape {value._shape}")
        _require(in_proj_weight is not None, "use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _project(query, key, value, in_proj_weight, in_proj_bias, (batch, num_heads, head_dim))

    if attn_mask is not None:
        attn_mask = _check_attn_mask(attn_mask, heads, target, source)
    if key_padding_mask is not None:
        _require(
            key_padding_mask._shape[0] == batch,
            f"Expected key_padded_mask.shape[0] to be {batch}, but got {key_padding_mask._shape[0]}",
        )

    def widen_masks():
        """Lets everything attend to one more key."""
        return (
            None if attn_mask is None else pad(attn_mask, (0, 1)),
            None if key_padding_mask is None else pad(key_padding_mask, (0, 1)),
        )

    if bias_k is not None and bias_v is not None:
        _require(static_k is None, "bias cannot be added to static key.")
        _require(static_v is None, "bias cannot be added to static value.")
        k, v = (
            cat((x, b.reshape(num_heads, 1, head_dim).expand(batch, num_heads, 1, head_dim)), 2)
            for x, b in ((k, bias_k), (v, bias_v))
        )
        attn_mask, key_padding_mask = widen_masks()
    else:
        _require(bias_k is None and bias_v is None, "bias_k and bias_v are given together, or not at all")

    if static_k is not None:
        k = _check_static(static_k, "static_k", heads, head_dim).unflatten(0, (batch, num_heads))
    if static_v is not None:
        v = _check_static(static_v, "static_v", heads, head_dim).unflatten(0, (batch, num_heads))
    if add_zero_attn:
        k, v = pad(k, (0, 0, 0, 1)), pad(v, (0, 0, 0, 1))
        attn_mask, key_padding_mask = widen_masks()
    source = k._shape[2]

    if attn_mask is not None and attn_mask._shape[0] != 1:
        attn_mask = attn_mask.unflatten(0, (batch, num_heads))
    if key_padding_mask is not None:
        _require(
            key_padding_mask._shape == (batch, source),
            f"expecting key_padding_mask shape of {(batch, source)}, but got {tuple(key_padding_mask._shape)}",
        )
        of_keys = key_padding_mask.reshape(batch, 1, 1, source)
        attn_mask = of_keys if attn_mask is None else attn_mask + of_keys
    dropout_p = dropout_p if training else 0.0

    weights: Tensor | None = None
    if need_weights:
        scores = (q * math.sqrt(1.0 / head_dim)) @ k.transpose(2, 3)
        weights = (scores if attn_mask is None else scores + attn_mask).softmax(-1)
        if dropout_p > 0:
            weights = dropout(weights, dropout_p)
        result = weights @ v
        if average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            weights = weights.squeeze(0)
    else:
        result = scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal)
    result = result.permute(2, 0, 1, 3).reshape(target * batch, embed_dim)
    result = linear(result, out_proj_weight, out_proj_bias).reshape(target, batch, out_proj_weight._shape[0])
    return result if batched else result.squeeze(1), weights
