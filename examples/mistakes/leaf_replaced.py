# Wrong: w = w - ... makes a new tensor that is no leaf. Seen: TypeError in the second step, its gradient is None.
# Code: FB-TYPE-05
# Fix: "w = w - 0.1 * w.grad" => "with torch.no_grad(): w -= 0.1 * w.grad; w.grad = None"
import warnings

import torch

warnings.simplefilter("ignore")
w = torch.randn(3, requires_grad=True)
for t in range(3):
    loss = (w * w).sum()
    loss.backward()
    w = w - 0.1 * w.grad
