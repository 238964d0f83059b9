# Wrong: scores are compared with class numbers. Seen: RuntimeError, the sizes do not match.
# Code: FB-SHAPE-05
# Fix: "(pred == y)" => "(pred.argmax(1) == y)"
import torch

pred, y = torch.randn(8, 3), torch.randint(3, (8,))
right = (pred == y).float().mean()
