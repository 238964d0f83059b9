# needs: transformer-lens transformers accelerate deps
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

cfg = HookedTransformerConfig(n_layers=2, d_model=32, n_ctx=16, d_head=8, n_heads=4, d_vocab=50, act_fn="gelu", seed=0, device="cpu")
m = HookedTransformer(cfg)
t = torch.arange(10)[None]
lo, cache = m.run_with_cache(t)
print("RESULT logits", lo.sum().item(), lo.std().item(), len(cache))
print("RESULT pat", cache["pattern", 0].sum().item(), cache["resid_post", 1].norm().item(), m(t, return_type="loss").item())


def hook(v, hook):
    v[:, :, 0] = 0
    return v


print("RESULT hooked", m.run_with_hooks(t, fwd_hooks=[("blocks.0.attn.hook_z", hook)]).sum().item())
a, lab = cache.decompose_resid(return_labels=True)
print("RESULT dec", a.norm().item(), len(lab))
