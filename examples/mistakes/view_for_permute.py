# Wrong: view mixes up what permute would turn. Seen: no error; the pictures are scrambled.
# Code: FB-SHAPE-11
# Fix: "images.view(2, 3, 8, 6)" => "images.permute(0, 3, 1, 2)"
import torch

torch.manual_seed(0)
images = torch.randn(2, 8, 6, 3)
conv = torch.nn.Conv2d(3, 4, kernel_size=3)
y = conv(images.view(2, 3, 8, 6))
