# Wrong: x.shape() for x.shape. Seen: TypeError, a Size is no function.
# Code: FB-CALL-05
# Fix: "x.shape()" => "x.shape"
import torch

x = torch.randn(3, 4)
print(x.shape())
