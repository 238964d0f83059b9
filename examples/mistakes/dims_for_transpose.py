# Wrong: transpose is given one dim. Seen: TypeError, it takes two.
# Code: FB-CALL-06
# Fix: "transpose(1)" => "transpose(0, 1)"
import torch

x = torch.randn(3, 4).transpose(1)
