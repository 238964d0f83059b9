# needs: perceiver-pytorch deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from perceiver_pytorch import Perceiver, PerceiverIO

torch.manual_seed(0)
perceiver = Perceiver(input_channels=3, input_axis=2, num_freq_bands=2, max_freq=4.0, depth=2, num_latents=4, latent_dim=16, cross_heads=1, latent_heads=2, cross_dim_head=8, latent_dim_head=8, num_classes=3).eval()
R("perceiver", perceiver(torch.randn(1, 8, 8, 3)).std().item())
io = PerceiverIO(dim=8, queries_dim=6, logits_dim=4, depth=2, num_latents=4, latent_dim=16, cross_dim_head=8, latent_dim_head=8, latent_heads=2)
R("io", io(torch.randn(1, 12, 8), queries=torch.randn(3, 6)).std().item())
