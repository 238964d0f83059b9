# needs: local-attention hyper-connections torch-einops-utils deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from local_attention import LocalAttention
from local_attention.transformer import LocalTransformer

torch.manual_seed(0)
attention = LocalAttention(dim=16, window_size=8, causal=True, look_backward=1, dropout=0.0, autopad=True)
q, k, v = torch.randn(3, 2, 20, 16).unbind(0)
R("attention", attention(q, k, v, mask=torch.ones(1, 20).bool()).sum().item())
model = LocalTransformer(num_tokens=20, dim=16, depth=2, max_seq_len=32, local_attn_window_size=8, causal=True, heads=2, dim_head=8)
tokens = torch.randint(0, 20, (2, 24))
loss = model(tokens, return_loss=True)
loss.backward()
R("loss", loss.item())
