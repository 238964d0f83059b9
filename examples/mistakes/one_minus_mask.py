# Wrong: 1 - mask of truths. Seen: RuntimeError, it is ~mask.
# Code: FB-DTYPE-07
# Fix: "1 - mask" => "~mask"
import torch

mask = torch.randn(3) > 0
rest = 1 - mask
