# Wrong: pictures go into Linear as they are. Seen: RuntimeError, the shapes do not fit.
# Code: FB-SHAPE-02
# Fix: "model(images)" => "model(images.flatten(1))"
import torch

images = torch.randn(2, 1, 28, 28)
model = torch.nn.Linear(784, 10)
y = model(images)
