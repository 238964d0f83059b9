"""Autograd: backward() finds the gradients.

自动求导:前向时记录计算图,backward() 沿图求出 w1.grad 与 w2.grad。
"""

import sys

import torch

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
N, D_in, H, D_out = 64, 1000, 100, 10

torch.manual_seed(0)
x = torch.randn(N, D_in, device=device)
y = torch.randn(N, D_out, device=device)
w1 = torch.randn(D_in, H, device=device, requires_grad=True)
w2 = torch.randn(H, D_out, device=device, requires_grad=True)

learning_rate = 1e-6
losses = []
for t in range(steps):
    y_pred = x.mm(w1).clamp(min=0).mm(w2)

    loss = (y_pred - y).pow(2).sum()
    losses.append(loss.item())
    if t % 100 == 99:
        print(t, losses[-1])

    loss.backward()

    # The update itself is not part of what is differentiated; gradients add up until they are zeroed.
    with torch.no_grad():
        w1 -= learning_rate * w1.grad
        w2 -= learning_rate * w2.grad
        w1.grad.zero_()
        w2.grad.zero_()
