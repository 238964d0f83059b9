"""Own layer: Parameter and register_parameter.

自定义层:y = (x^2 + bias) @ weight,权重用 Parameter 声明,才会进入 parameters()。
"""

import sys

import torch


class MyLayer(torch.nn.Module):
    """y = (x ** 2 + bias) @ weight

    The bias is added before the product, so it is (in_features,), and the weight is
    (in_features, out_features): both the other way round than in Linear.
    """

    def __init__(self, in_features, out_features, bias=True):
        super(MyLayer, self).__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = torch.nn.Parameter(torch.Tensor(in_features, out_features))
        if bias:
            self.bias = torch.nn.Parameter(torch.Tensor(in_features))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        torch.nn.init.normal_(self.weight, std=0.1)  # torch.Tensor(...) is memory as it was found
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(self, input):
        input_ = torch.pow(input, 2)
        if self.bias is not None:
            input_ = input_ + self.bias
        y = torch.matmul(input_, self.weight)
        return y


class MyNet(torch.nn.Module):
    def __init__(self):
        super(MyNet, self).__init__()
        self.mylayer1 = MyLayer(D_in, D_out)

    def forward(self, x):
        x = self.mylayer1(x)
        return x


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
N, D_in, D_out = 10, 5, 3

torch.manual_seed(0)
x = torch.randn(N, D_in)
y = torch.randn(N, D_out)

model = MyNet()
print(model)
print("without bias:", [name for name, _ in MyLayer(D_in, D_out, bias=False).named_parameters()])
loss_fn = torch.nn.MSELoss(reduction="sum")
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
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
