# Wrong: numbers without enumerate. Seen: ValueError.
# Code: FB-DATA-10
# Fix: "in loader" => "in enumerate(loader)"
import torch
from torch.utils.data import DataLoader, TensorDataset
loader = DataLoader(TensorDataset(torch.randn(8, 2), torch.randn(8, 1)), batch_size=4)
net = torch.nn.Linear(2, 1)
for i, (x, y) in loader:
    print(net(x))
