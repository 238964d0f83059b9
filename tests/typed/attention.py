import math

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
    if mask is not None:
        scores = scores.masked_fill(mask == 0, float("-inf"))
    weights = torch.softmax(scores, dim=-1)
    return torch.matmul(weights, v), weights


q = torch.rand(2, 4, 5, 8)
out, weights = attention(q, q, q, torch.tril(torch.ones(5, 5)))
fast = F.scaled_dot_product_attention(q, q, q, is_causal=True)
print(bool(torch.allclose(out, fast, atol=1e-5)), weights.sum(-1).mean().item() > 0.9)
