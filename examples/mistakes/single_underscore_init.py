# Wrong: _init_ for __init__. Seen: TypeError when the model is made, nothing takes the arguments.
# Code: FB-MODULE-02
# Fix: "_init_(self, D" => "__init__(self, D"
# Fix: "._init_()" => ".__init__()"
import torch


class TwoLayerNet(torch.nn.Module):
    def _init_(self, D_in, H, D_out):
        super(TwoLayerNet, self)._init_()
        self.linear1 = torch.nn.Linear(D_in, H, bias=False)
        self.linear2 = torch.nn.Linear(H, D_out, bias=False)

    def forward(self, x):
        return self.linear2(self.linear1(x).clamp(min=0))


model = TwoLayerNet(4, 8, 2)
