"""Old style: Variable, .data and .grad.data.

旧写法:Variable 包住张量,通过 .data 与 .grad.data 更新。
"""

import sys

import torch
from torch.autograd import Variable

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
batch_n, input_data, hidden_layer, output_data = 64, 1000, 100, 10

torch.manual_seed(0)
x = Variable(torch.randn(batch_n, input_data), requires_grad=False)
y = Variable(torch.randn(batch_n, output_data), requires_grad=False)
w1 = Variable(torch.randn(input_data, hidden_layer), requires_grad=True)
w2 = Variable(torch.randn(hidden_layer, output_data), requires_grad=True)

learning_rate = 1e-6
losses = []
for epoch in range(steps):
    y_pred = x.mm(w1).clamp(min=0).mm(w2)
    loss = (y_pred - y).pow(2).sum()
    losses.append(loss.item())  # loss.data[0] in those days
    if epoch % 100 == 99:
        print("Epoch:{}, Loss:{:.4f}".format(epoch, loss.item()))

    loss.backward()

    w1.data -= learning_rate * w1.grad.data
    w2.data -= learning_rate * w2.grad.data
    w1.grad.data.zero_()
    w2.grad.data.zero_()
