# Wrong: maximum with a number. Seen: TypeError.
# Code: FB-TYPE-02
# Fix: "torch.maximum(h, 0)" => "h.clamp(min=0)"
import torch
h = torch.randn(4)
print(torch.maximum(h, 0))
