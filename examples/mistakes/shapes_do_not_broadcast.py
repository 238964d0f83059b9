# Wrong: 8 answers are compared with 10 targets. Seen: RuntimeError, the sizes differ.
# Code: FB-SHAPE-05
# Fix: "pred - y" => "pred - y[:8]"
import torch

pred, y = torch.randn(8, 1), torch.randn(10, 1)
loss = (pred - y).pow(2).mean()
