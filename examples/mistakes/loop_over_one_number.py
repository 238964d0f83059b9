# Wrong: the loss is one number, and the loop wants several. Seen: TypeError, iteration over a 0-d tensor.
# Code: FB-TYPE-15
# Fix: "for v in loss:" => "for v in errors:"
import torch

errors = (torch.randn(4) - torch.randn(4)) ** 2
loss = errors.mean()
for v in loss:
    print(v)
