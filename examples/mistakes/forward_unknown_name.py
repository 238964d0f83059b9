# Wrong: forward is given input and uses x. Seen: UnboundLocalError, x is assigned further down and so is local.
# Code: FB-NAME-01
# Fix: "torch.mm(x, w1)" => "torch.mm(input, w1)"
import torch


class Model(torch.nn.Module):
    def forward(self, input, w1, w2):
        x = torch.mm(x, w1)
        x = torch.clamp(x, min=0)
        x = torch.mm(x, w2)
        return x


model = Model()
x = torch.randn(16, 4)
y_pred = model(x, torch.randn(4, 8), torch.randn(8, 2))
