# needs: performer-pytorch local-attention einops axial-positional-embedding deps
import torch
from performer_pytorch import FastAttention, SelfAttention

torch.manual_seed(0)
a = SelfAttention(dim=32, heads=4, causal=False, dim_head=8)
print("RESULT attention", a(torch.randn(1, 20, 32)).sum().item())
q, k, v = torch.randn(3, 1, 2, 16, 8).unbind(0)
print("RESULT f", FastAttention(dim_heads=8, nb_features=16, causal=False)(q, k, v).sum().item())
