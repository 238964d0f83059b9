# needs: x-transformers torch-einops-utils loguru deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from x_transformers import AutoregressiveWrapper, Decoder, Encoder, TransformerWrapper, ViTransformerWrapper

torch.manual_seed(0)
model = AutoregressiveWrapper(TransformerWrapper(num_tokens=30, max_seq_len=24, attn_layers=Decoder(dim=32, depth=2, heads=4, rotary_pos_emb=True, ff_glu=True, use_rmsnorm=True)))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
tokens = torch.randint(0, 30, (3, 17))
for step in range(3):
    loss = model(tokens)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    R(f"loss{step}", loss.item())
R("generated", model.generate(tokens[:1, :4], 6, temperature=0.0).tolist())
torch.manual_seed(1)
R("sampled", model.generate(tokens[:1, :4], 6, temperature=1.0).tolist())
vit = ViTransformerWrapper(image_size=32, patch_size=8, num_classes=5, attn_layers=Encoder(dim=32, depth=2, heads=4)).eval()
R("vit", vit(torch.randn(2, 3, 32, 32)).std().item())
