# Wrong: forward adds self.bias, which is None with bias=False. Seen: TypeError at the addition.
# Code: FB-TYPE-05
# Fix: "        input_ = torch.pow(input, 2) + self.bias\n" => "        input_ = torch.pow(input, 2) if self.bias is None else torch.pow(input, 2) + self.bias\n"
import torch


class MyLayer(torch.nn.Module):
    def __init__(self, in_features, out_features, bias=True):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(in_features, out_features))
        if bias:
            self.bias = torch.nn.Parameter(torch.zeros(in_features))
        else:
            self.register_parameter("bias", None)

    def forward(self, input):
        input_ = torch.pow(input, 2) + self.bias
        return torch.matmul(input_, self.weight)


y_pred = MyLayer(5, 3, bias=False)(torch.randn(10, 5))
