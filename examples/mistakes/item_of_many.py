# Wrong: item() of eight numbers. Seen: RuntimeError, it takes one.
# Code: FB-SHAPE-08
# Fix: "loss.item()" => "loss.mean().item()"
import torch

pred, y = torch.randn(8, requires_grad=True), torch.randn(8)
loss = (pred - y) ** 2
print(loss.item())
