# Wrong: a comma at the end of a layer's line. Seen: TypeError.
# Code: FB-TYPE-16
# Fix: "Linear(2, 4)," => "Linear(2, 4)"
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(2, 4),
        self.fc2 = nn.Linear(4, 1)
    def forward(self, x):
        return self.fc2(self.fc1(x).relu())
print(Net()(torch.randn(3, 2)))
