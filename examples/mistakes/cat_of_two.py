# Wrong: cat takes one list of tensors. Seen: TypeError, it is given two tensors.
# Code: FB-TYPE-03
# Fix: "cat(a, b)" => "cat([a, b])"
import torch

a, b = torch.zeros(2, 3), torch.ones(2, 3)
c = torch.cat(a, b)
