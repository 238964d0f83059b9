"""Tensor tour: tensors, views, NumPy, gradients.

张量速览:创建、运算、原地操作、索引、改变形状、与 NumPy 互换、第一次求导。
"""

import numpy as np
import torch

torch.manual_seed(0)

print("-- making tensors")
x = torch.empty(3, 5)  # whatever the memory held: only its shape is worth printing
print(x.shape)
x = torch.rand(3, 5)
print(x)
x = torch.zeros(3, 5)
print(x, x.dtype)
x = torch.zeros(3, 5, dtype=torch.long)
print(x, x.dtype)
print(torch.zeros(3, 5).long().dtype)
x = torch.tensor([1.2, 4])
print(x)
x = x.new_ones(3, 5)
print(x)
x = x.new_ones(3, 5, dtype=torch.double)
print(x)
x = torch.randn_like(x, dtype=torch.float)
print(x)
print(x.shape, x.size())

print("-- arithmetic")
y = torch.rand(3, 5)
print(x + y)
print(torch.add(x, y))
result = torch.empty(3, 5)
torch.add(x, y, out=result)
print(result)
y.add_(x)  # a trailing underscore: y itself changes
print(y)
print(torch.equal(y, result))
y.copy_(x)
print(y.t_().shape)

print("-- indexing, as in NumPy")
print(x[1:, 1:])
print(x[:, 0], x[-1], x[x > 0].numel())

print("-- other shapes over the same numbers")
x = torch.randn(4, 4)
y = x.view(16)
z = x.view(2, -1)  # -1: work it out
print(x.size(), y.size(), z.size())
y[0] = 7.0
print(x[0, 0], z[0, 0])

print("-- one number")
x = torch.randn(1)
print(x, x.item())
print("item" in dir(x), "data" in dir(x), "grad" in dir(x))

print("-- to NumPy and back: the memory is shared")
a = torch.ones(5)
b = a.numpy()
print(a, b)
b[1] = 2.0
print(a)
a.add_(1)
print(b)
a = np.ones(5)
b = torch.from_numpy(a)
np.add(a, 1, out=a)
print(a, b)

print("-- devices")
x = torch.randn(2, 3)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
y = torch.ones_like(x, device=device)
x = x.to(device)
z = x + y
print(z.to("cpu", torch.double))
print(y.cpu().data.numpy())

print("-- the first gradients")
x = torch.tensor(1.0, requires_grad=True)
w = torch.tensor(2.0, requires_grad=True)
b = torch.tensor(3.0, requires_grad=True)
y = w * x + b
print(y)
y.backward()
print(w.grad, x.grad, b.grad)  # dy/dw = x, dy/dx = w, dy/db = 1
