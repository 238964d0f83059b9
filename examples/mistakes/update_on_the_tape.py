# Wrong: the update is not under no_grad. Seen: RuntimeError, a leaf is written in place.
# Code: FB-GRAPH-01
# Fix: "w -= 0.1 * w.grad" => "with torch.no_grad(): w -= 0.1 * w.grad"
import torch

w = torch.randn(3, requires_grad=True)
for t in range(3):
    loss = (w * w).sum()
    loss.backward()
    w -= 0.1 * w.grad
    w.grad = None
