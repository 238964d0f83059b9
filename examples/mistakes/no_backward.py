# Wrong: loss.backward() is missing. Seen: TypeError at the update, w1.grad is still None.
# Code: FB-TYPE-05
# Fix: "with torch.no_grad():" => "loss.backward()\nwith torch.no_grad():"
import torch

x, y = torch.randn(16, 4), torch.randn(16, 2)
w1 = torch.randn(4, 2, requires_grad=True)
learning_rate = 1e-6
loss = (x.mm(w1) - y).pow(2).sum()
with torch.no_grad():
    w1 -= learning_rate * w1.grad
