# Wrong: no_grad without brackets. Seen: TypeError.
# Code: FB-CALL-10
# Fix: "no_grad:" => "no_grad():"
import torch
w = torch.randn(3, requires_grad=True)
loss = (w * 2).sum()
loss.backward()
with torch.no_grad:
    w -= 0.1 * w.grad
