# Wrong: a picture of 3 x 3 for a kernel of 5 x 5. Seen: RuntimeError.
# Code: FB-SHAPE-15
# Fix: "Conv2d(1, 4, 5)" => "Conv2d(1, 4, 5, padding=2)"
import torch

y = torch.nn.Conv2d(1, 4, 5)(torch.randn(2, 1, 3, 3))
