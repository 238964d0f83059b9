# Wrong: classes are counted from 1. Seen: RuntimeError.
# Code: FB-CLASS-03
# Fix: "one_hot(y, 3)" => "one_hot(y - y.min(), 3)"
import torch
from torch.nn import functional as F
y = torch.tensor([1, 2, 3])
print(F.one_hot(y, 3))
