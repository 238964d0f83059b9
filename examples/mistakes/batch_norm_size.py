# Wrong: BatchNorm1d(5) of six features. Seen: RuntimeError.
# Code: FB-SHAPE-12
# Fix: "BatchNorm1d(5)" => "BatchNorm1d(6)"
import torch

y = torch.nn.BatchNorm1d(5)(torch.randn(4, 6))
