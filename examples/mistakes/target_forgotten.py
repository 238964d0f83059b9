# Wrong: the loss leaves y out. Seen: no error; the net learns to answer zero.
# Code: FB-LOOP-05
# Fix: "(y_pred).pow" => "(y_pred - y).pow"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
w = torch.randn(4, 2, requires_grad=True)
for t in range(5):
    y_pred = x.mm(w)
    loss = (y_pred).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        w -= 1e-3 * w.grad
        w.grad.zero_()
