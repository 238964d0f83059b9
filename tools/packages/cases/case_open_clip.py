# needs: open-clip-torch timm torchvision ftfy wcwidth deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import open_clip
import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

torch.manual_seed(0)
model = CLIP(32, CLIPVisionCfg(layers=2, width=48, head_width=16, patch_size=16, image_size=64), CLIPTextCfg(context_length=77, vocab_size=49408, width=32, heads=2, layers=2))
tokens = open_clip.get_tokenizer("ViT-B-32")(["a photo of a cat", "two dogs"])
R("tokens", tokens[:, :6].tolist())
images = torch.rand(2, 3, 64, 64)
optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
for step in range(3):
    image, text, scale = model(images, tokens)
    loss = ClipLoss()(image, text, scale)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    R(f"loss{step}", loss.item(), scale.item())
from PIL import Image

transform = open_clip.image_transform(32, is_train=False)
R("transform", transform(Image.new("RGB", (40, 50), (255, 128, 0))).sum().item())
