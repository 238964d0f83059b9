# Wrong: forward is indented into __init__. Seen: NotImplementedError at the first call, the class has no forward.
# Code: FB-MODULE-03
# Fix: "\n        def forward(self, x):\n            return" => "\n    def forward(self, x):\n        return"
import torch


class TwoLayerNet(torch.nn.Module):
    def __init__(self, D_in, H, D_out):
        super().__init__()
        self.linear1 = torch.nn.Linear(D_in, H, bias=False)
        self.linear2 = torch.nn.Linear(H, D_out, bias=False)

        def forward(self, x):
            return self.linear2(self.linear1(x).clamp(min=0))


model = TwoLayerNet(4, 8, 2)
y_pred = model(torch.randn(16, 4))
