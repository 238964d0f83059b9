# Wrong: flatten() takes the batch along. Seen: RuntimeError, shapes cannot be multiplied.
# Code: FB-SHAPE-02
# Fix: "x.flatten()" => "x.flatten(1)"
import torch

x = torch.randn(8, 3, 4)
layer = torch.nn.Linear(12, 2)
print(layer(x.flatten()).shape)
