"""NumPy by hand: every gradient is written out.

A two-layer net, fully connected, ReLU between, no bias, squared error.
纯 NumPy:前向传播、损失与每一个梯度都手写。
"""

import sys

import numpy as np
import torch

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
N, D_in, H, D_out = 64, 1000, 100, 10  # batch, input, hidden, output

torch.manual_seed(0)  # only to start every rung from the same numbers
x = torch.randn(N, D_in).numpy()
y = torch.randn(N, D_out).numpy()
w1 = torch.randn(D_in, H).numpy()
w2 = torch.randn(H, D_out).numpy()

learning_rate = 1e-6
losses = []
for t in range(steps):
    # Forward: (N, D_in) @ (D_in, H) -> (N, H), then (N, H) @ (H, D_out) -> (N, D_out).
    h = x.dot(w1)
    h_relu = np.maximum(h, 0)
    y_pred = h_relu.dot(w2)

    loss = np.square(y_pred - y).sum()
    losses.append(float(loss))
    if t % 100 == 99:
        print(t, losses[-1])

    # Backward: the chain rule, from the loss down to the weights.
    grad_y_pred = 2.0 * (y_pred - y)
    grad_w2 = h_relu.T.dot(grad_y_pred)
    grad_h_relu = grad_y_pred.dot(w2.T)
    grad_h = grad_h_relu.copy()
    grad_h[h < 0] = 0
    grad_w1 = x.T.dot(grad_h)

    w1 -= learning_rate * grad_w1
    w2 -= learning_rate * grad_w2
