# Wrong: Python's own sum with a dim. Seen: TypeError.
# Code: FB-CALL-03
# Fix: "sum(x, dim=1)" => "x.sum(dim=1)"
import torch
x = torch.randn(4, 3)
print(sum(x, dim=1))
