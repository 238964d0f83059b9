"""optim: Adam updates the weights.

优化器:由 Adam 更新参数,循环只剩 zero_grad、backward、step。
"""

import sys

import torch

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
N, D_in, H, D_out = 64, 1000, 100, 10

torch.manual_seed(0)
x = torch.randn(N, D_in)
y = torch.randn(N, D_out)

model = torch.nn.Sequential(
    torch.nn.Linear(D_in, H),
    torch.nn.ReLU(),
    torch.nn.Linear(H, D_out),
)
loss_fn = torch.nn.MSELoss(reduction="sum")

learning_rate = 1e-4
optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
losses = []
for t in range(steps):
    y_pred = model(x)

    loss = loss_fn(y_pred, y)
    losses.append(loss.item())
    if t % 100 == 99:
        print(t, losses[-1])

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
