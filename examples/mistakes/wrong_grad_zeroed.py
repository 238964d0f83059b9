# Wrong: w1.grad is zeroed twice, w2.grad never. Seen: no error; w2 moves by the sum of all its gradients so far.
# Code: FB-LOOP-01
# Fix: "        w1.grad.zero_()\n        w1.grad.zero_()" => "        w1.grad.zero_()\n        w2.grad.zero_()"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
w1 = torch.randn(4, 8, requires_grad=True)
w2 = torch.randn(8, 2, requires_grad=True)
for t in range(5):
    loss = (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        w1 -= 1e-4 * w1.grad
        w2 -= 1e-4 * w2.grad
        w1.grad.zero_()
        w1.grad.zero_()
