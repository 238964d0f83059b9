"""Which kernels attention may be computed by, and masks that know that they are causal."""

import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.nn.attention import SDPBackend, sdpa_kernel
from flambeau.nn.attention.bias import CausalBias, CausalVariant, causal_lower_right, causal_upper_left


def queries_and_keys(queries, keys, dtype=torch.float32):
    torch.manual_seed(0)
    return torch.rand(2, 3, queries, 8, dtype=dtype), torch.rand(2, 3, keys, 8, dtype=dtype)


@pytest.mark.parametrize("backend", [b for b in SDPBackend if b not in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION)])
def test_kernels_that_no_cpu_has_are_refused(backend):
    q, k = queries_and_keys(2, 4)
    with sdpa_kernel([backend]), pytest.raises(RuntimeError, match="No viable backend"):
        F.scaled_dot_product_attention(q, k, k)
    with sdpa_kernel([backend, SDPBackend.MATH]):
        assert F.scaled_dot_product_attention(q, k, k).shape == q.shape
    assert str(backend) == f"SDPBackend.{backend.name}"


def test_flash_attention_takes_four_dims_and_no_dropout():
    q, k = queries_and_keys(2, 4)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        assert torch.equal(F.scaled_dot_product_attention(q, k, k), F.scaled_dot_product_attention(q, k, k))
        with pytest.raises(RuntimeError, match="No available kernel"):
            F.scaled_dot_product_attention(q[0], k[0], k[0])
        with pytest.raises(RuntimeError, match="No available kernel"):
            F.scaled_dot_product_attention(q, k, k, dropout_p=0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("call", [lambda f: f, torch.compile, lambda f: torch.compile(f, fullgraph=True)])
def test_causal_masks_are_causal_attention(dtype, call):
    attention = call(F.scaled_dot_product_attention)
    q, k = queries_and_keys(2, 5, dtype)
    assert torch.equal(attention(q, k, k, causal_upper_left(2, 5)), F.scaled_dot_product_attention(q, k, k, is_causal=True))
    mask = torch.ones(2, 5, dtype=torch.bool).tril(3)
    found = attention(q, k, k, attn_mask=causal_lower_right(2, 5))
    assert type(found) is torch.Tensor
    assert torch.equal(found, F.scaled_dot_product_attention(q, k, k, mask))
    assert torch.equal(attention(k, k, k, causal_lower_right(5, 5)), F.scaled_dot_product_attention(k, k, k, is_causal=True))


def test_causal_masks_are_tensors_of_a_class_of_their_own():
    mask = CausalBias(CausalVariant.LOWER_RIGHT, 2, 3)
    assert mask._materialize().tolist() == [[True, True, False], [True, True, True]]
    assert (mask.variant, mask.seq_len_q, mask.seq_len_kv) == (CausalVariant.LOWER_RIGHT, 2, 3)
    q, k = queries_and_keys(2, 3)
    with pytest.raises(ValueError, match="should not be used with causal=True"):
        F.scaled_dot_product_attention(q, k, k, mask, is_causal=True)
    with pytest.warns(UserWarning, match="will produce NaNs"):
        causal_lower_right(3, 2)
    with pytest.raises(RuntimeError, match="causal_upper_left only supports 2D"):
        causal_upper_left(3)
