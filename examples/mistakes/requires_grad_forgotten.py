# Wrong: w is made without requires_grad=True. Seen: RuntimeError, backward finds no graph.
# Code: FB-GRAPH-04
# Fix: "torch.randn(4, 2)" => "torch.randn(4, 2, requires_grad=True)"
import torch

x, y = torch.randn(16, 4), torch.randn(16, 2)
w = torch.randn(4, 2)
loss = (x.mm(w) - y).pow(2).sum()
loss.backward()
