"""Several heads of attention: what broadcasts and what must fit."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau import nn


@pytest.mark.parametrize("need_weights", [True, False])
def test_masks_of_keys_queries_and_heads(need_weights):
    torch.manual_seed(0)
    layer, x = nn.MultiheadAttention(6, 2, batch_first=True), torch.randn(3, 4, 6)
    padding = torch.tensor([[False] * 4, [False, True, False, True], [False, False, False, True]])
    causal = torch.ones(4, 4, dtype=torch.bool).triu(1)
    of_heads = causal.expand(6, 4, 4).clone()
    of_heads[2] = False  # the first head of the second element sees all
    q, k, v = (t.unflatten(-1, (2, 3)).transpose(1, 2) for t in (x @ layer.in_proj_weight.t() + layer.in_proj_bias).chunk(3, -1))
    for mask in (None, causal, of_heads):
        hidden = padding[:, None, None, :].expand(3, 2, 4, 4)
        if mask is not None:
            hidden = hidden | (mask if mask.dim() == 2 else mask.view(3, 2, 4, 4))
        weights = (q @ k.mT / 3**0.5).masked_fill(hidden, float("-inf")).softmax(-1)
        expected = layer.out_proj((weights @ v).transpose(1, 2).flatten(2))
        for _ in range(3):
            got, seen = layer(x, x, x, key_padding_mask=padding, attn_mask=mask, need_weights=need_weights)
            assert torch.allclose(got, expected, atol=1e-6)
            assert seen is None or torch.allclose(seen, weights.mean(1), atol=1e-6)


@pytest.mark.parametrize("dims", [{}, {"kdim": 5, "vdim": 5}])
def test_batches_that_do_not_fit_are_refused(dims):
    layer, width = nn.MultiheadAttention(6, 2, **dims), dims.get("kdim", 6)
    with pytest.raises(RuntimeError):
        layer(torch.ones(4, 2, 6), torch.ones(5, 1, width), torch.ones(5, 1, width), need_weights=False)


def test_attention_refuses_nested_tensors():
    nested = torch.nested.nested_tensor([torch.ones(4, 4), torch.ones(2, 4)], layout=torch.jagged)
    with pytest.raises(AssertionError, match="does not support NestedTensor outside of its fast path"):
        nn.MultiheadAttention(4, 4, batch_first=True).eval()(nested, nested, nested)
