# Wrong: grad.zero for grad.zero_(). Seen: AttributeError, tensors have no zero.
import torch

w = torch.randn(3, requires_grad=True)
w.sum().backward()
w.grad.zero()
