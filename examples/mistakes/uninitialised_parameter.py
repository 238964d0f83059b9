# Wrong: Parameter(torch.Tensor(n, m)) is used as it comes. Seen: no error; it starts from whatever the memory held.
# Code: FB-PARAM-01
# Fix: "out_features))\n" => "out_features))\n        torch.nn.init.xavier_uniform_(self.weight)\n"
import torch


class MyLayer(torch.nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.Tensor(in_features, out_features))

    def forward(self, input):
        return torch.matmul(torch.pow(input, 2), self.weight)


y_pred = MyLayer(5, 3)(torch.randn(10, 5))
