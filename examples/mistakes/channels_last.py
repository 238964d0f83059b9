# Wrong: images are (N, H, W, C), as in NumPy and Keras. Seen: RuntimeError, the channels do not fit.
# Code: FB-SHAPE-03
# Fix: "conv(images)" => "conv(images.permute(0, 3, 1, 2))"
import torch

images = torch.randn(2, 28, 28, 3)
conv = torch.nn.Conv2d(3, 8, kernel_size=3)
y = conv(images)
