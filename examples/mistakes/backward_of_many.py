# Wrong: backward of eight losses. Seen: RuntimeError, a gradient can be made of one number.
# Code: FB-GRAPH-03
# Fix: "loss.backward()" => "loss.mean().backward()"
import torch

w = torch.randn(8, requires_grad=True)
loss = (w - 1) ** 2
loss.backward()
