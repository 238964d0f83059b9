# Wrong: max along a dim gives values and indices. Seen: TypeError, a tuple is no tensor.
# Code: FB-TYPE-12
# Fix: "max(dim=1)" => "max(dim=1).values"
import torch

x = torch.randn(3, 4)
y = x.max(dim=1) + 1
