# Wrong: view of a tensor whose memory is in another order. Seen: RuntimeError, reshape can do it.
# Code: FB-SHAPE-06
# Fix: "x.view(12)" => "x.reshape(12)"
import torch

x = torch.randn(3, 4).t()
y = x.view(12)
