# Wrong: only leaves keep their gradient. Seen: TypeError, NoneType.
# Code: FB-TYPE-05
# Fix: "y.sum().backward()" => "y.retain_grad()\ny.sum().backward()"
import torch

x = torch.ones(3, requires_grad=True)
y = x * 2
y.sum().backward()
print(y.grad + 1)
