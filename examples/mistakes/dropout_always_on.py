# Wrong: F.dropout without training=self.training. Seen: no error; it drops values in eval mode too.
# Code: FB-MODE-04
# Fix: "dropout(x, 0.5)" => "dropout(x, 0.5, training=self.training)"
import torch
import torch.nn.functional as F


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(F.dropout(x, 0.5))


model = Net()
model.eval()
with torch.no_grad():
    y = model(torch.randn(3, 4))
