# Wrong: the size of the kernel is missing. Seen: TypeError, missing 1 required positional argument.
# Code: FB-CALL-02
# Fix: "nn.Conv2d(3, 8)" => "nn.Conv2d(3, 8, kernel_size=3)"
import torch
from torch import nn

layer = nn.Conv2d(3, 8)
print(layer(torch.randn(1, 3, 8, 8)).shape)
