"""DynamicNet: control flow, one layer used 0-3 times.

动态网络:每次前向随机重复同一个中间层 0 到 3 次,共享它的权重。
"""

import random
import sys

import torch


class DynamicNet(torch.nn.Module):
    def __init__(self, D_in, H, D_out):
        super(DynamicNet, self).__init__()
        self.input_linear = torch.nn.Linear(D_in, H)
        self.middle_linear = torch.nn.Linear(H, H)
        self.output_linear = torch.nn.Linear(H, D_out)

    def forward(self, x):
        h_relu = self.input_linear(x).clamp(min=0)
        for _ in range(random.randint(0, 3)):
            h_relu = self.middle_linear(h_relu).clamp(min=0)
        y_pred = self.output_linear(h_relu)
        return y_pred


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
N, D_in, H, D_out = 64, 1000, 100, 10

random.seed(0)
torch.manual_seed(0)
x = torch.randn(N, D_in)
y = torch.randn(N, D_out)

model = DynamicNet(D_in, H, D_out)
criterion = torch.nn.MSELoss(reduction="sum")
# Plain SGD finds this strange net hard to train; momentum helps.
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
losses = []
for t in range(steps):
    y_pred = model(x)

    loss = criterion(y_pred, y)
    losses.append(loss.item())
    if t % 100 == 99:
        print(t, losses[-1])

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
