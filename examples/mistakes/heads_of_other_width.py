# Wrong: three heads for a width of ten. Seen: AssertionError.
# Code: FB-SHAPE-17
# Fix: "(10, 3)" => "(12, 3)"
import torch

attention = torch.nn.MultiheadAttention(10, 3)
