# Wrong: w2.requires_grad for w2.grad in the update. Seen: no error; True counts as 1, w2 sinks by lr at every step.
# Code: FB-LOOP-03
# Fix: "w2.requires_grad\n" => "w2.grad\n"
import torch

torch.manual_seed(0)
x = torch.randn(16, 4)
w1 = torch.randn(4, 8, requires_grad=True)
w2 = torch.randn(8, 2, requires_grad=True)
for t in range(5):
    loss = x.mm(w1).clamp(min=0).mm(w2).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        w1 -= 1e-4 * w1.grad
        w2 -= 1e-4 * w2.requires_grad
        w1.grad.zero_()
        w2.grad.zero_()
