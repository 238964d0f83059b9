# Wrong: sizes one by one where a tuple is wanted. Seen: TypeError.
# Code: FB-CALL-06
# Fix: "2, 1)" => "(2, 1))"
import torch
w = torch.normal(0, 0.01, 2, 1)
print(w)
