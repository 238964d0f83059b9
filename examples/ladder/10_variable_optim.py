"""Old style, Adam: Variable in front of nn and optim.

旧写法加优化器:Variable 与 nn、optim 一起用,与上一级逐步相同。
"""

import sys

import torch
from torch.autograd import Variable

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
batch_n, input_data, hidden_layer, output_data = 64, 1000, 100, 10

torch.manual_seed(0)
x = Variable(torch.randn(batch_n, input_data), requires_grad=False)
y = Variable(torch.randn(batch_n, output_data), requires_grad=False)

models = torch.nn.Sequential(
    torch.nn.Linear(input_data, hidden_layer),
    torch.nn.ReLU(),
    torch.nn.Linear(hidden_layer, output_data),
)
loss_fn = torch.nn.MSELoss(reduction="sum")

learning_rate = 1e-4
optimizer = torch.optim.Adam(models.parameters(), lr=learning_rate)
losses = []
for epoch in range(steps):
    y_pred = models(x)
    loss = loss_fn(y_pred, y)
    losses.append(loss.item())
    if epoch % 100 == 99:
        print("Epoch:{}, Loss:{:.4f}".format(epoch, loss.item()))

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
