# Wrong: nn.ReLU(x) makes a layer; nn.ReLU()(x) calls one. Seen: AttributeError, a layer is no tensor.
# Code: FB-CALL-01
# Fix: "ReLU(x)" => "ReLU()(x)"
import torch

x = torch.randn(4)
y = torch.nn.ReLU(x).sum()
