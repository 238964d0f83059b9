# Wrong: grad.zero for grad.zero_(). Seen: AttributeError, tensors have no zero.
# Code: FB-NAME-06
# Fix: ".zero()" => ".zero_()"
import torch

w = torch.randn(3, requires_grad=True)
w.sum().backward()
w.grad.zero()
