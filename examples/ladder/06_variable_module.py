"""Module, no weights: forward() is given them.

旧写法的模型:继承 nn.Module 重写 forward,权重由外面传入。
"""

import sys

import torch
from torch.autograd import Variable


class Model(torch.nn.Module):
    def __init__(self):
        super(Model, self).__init__()

    def forward(self, input, w1, w2):
        x = torch.mm(input, w1)
        x = torch.clamp(x, min=0)
        x = torch.mm(x, w2)
        return x

    def backward(self):  # nobody calls it: loss.backward() walks the graph
        pass


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
batch_n, input_data, hidden_layer, output_data = 64, 1000, 100, 10

torch.manual_seed(0)
model = Model()
x = Variable(torch.randn(batch_n, input_data), requires_grad=False)
y = Variable(torch.randn(batch_n, output_data), requires_grad=False)
w1 = Variable(torch.randn(input_data, hidden_layer), requires_grad=True)
w2 = Variable(torch.randn(hidden_layer, output_data), requires_grad=True)

learning_rate = 1e-6
losses = []
for epoch in range(steps):
    y_pred = model(x, w1, w2)
    loss = (y_pred - y).pow(2).sum()
    losses.append(loss.item())
    if epoch % 100 == 99:
        print("Epoch:{}, Loss:{:.4f}".format(epoch, loss.item()))

    loss.backward()

    w1.data -= learning_rate * w1.grad.data
    w2.data -= learning_rate * w2.grad.data
    w1.grad.data.zero_()
    w2.grad.data.zero_()
