# Wrong: an update in place whose result is larger. Seen: RuntimeError.
# Code: FB-SHAPE-21
# Fix: "b += x" => "b = b + x"
import torch
b = torch.zeros(3)
x = torch.randn(4, 3)
b += x
