"""nn, our weights: Linear layers are the net by hand.

用 nn 搭同一张网:Linear 不带偏置,权重换成下面几级的 w1、w2,损失逐步相同。
"""

import sys

import torch
import torch.nn as nn

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
N, D_in, H, D_out = 64, 1000, 100, 10

torch.manual_seed(0)
x = torch.randn(N, D_in)
y = torch.randn(N, D_out)
w1 = torch.randn(D_in, H)
w2 = torch.randn(H, D_out)

model = nn.Sequential(
    nn.Linear(D_in, H, bias=False),
    nn.ReLU(),
    nn.Linear(H, D_out, bias=False),
)
with torch.no_grad():
    model[0].weight.copy_(w1.t())  # a Linear keeps its weight as (out_features, in_features)
    model[2].weight.copy_(w2.t())
loss_fn = nn.MSELoss(reduction="sum")

learning_rate = 1e-6
losses = []
for t in range(steps):
    y_pred = model(x)

    loss = loss_fn(y_pred, y)
    losses.append(loss.item())
    if t % 100 == 99:
        print(t, losses[-1])

    model.zero_grad()
    loss.backward()

    with torch.no_grad():
        for param in model.parameters():
            param -= learning_rate * param.grad
