# Wrong: GRU(4, 8) of three features. Seen: RuntimeError.
# Code: FB-SHAPE-13
# Fix: "GRU(4, 8)" => "GRU(3, 8)"
import torch

y, h = torch.nn.GRU(4, 8)(torch.randn(5, 2, 3))
