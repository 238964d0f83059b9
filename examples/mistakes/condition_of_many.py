# Wrong: `if` of a tensor of three truths. Seen: RuntimeError, which one is meant?
# Code: FB-TYPE-08
# Fix: "if x > 0:" => "if (x > 0).any():"
import torch

x = torch.tensor([1.0, -1.0, 2.0])
if x > 0:
    x = x * 2
