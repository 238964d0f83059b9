# Wrong: the numbers of enumerate are taken for the data. Seen: TypeError.
# Code: FB-DATA-10
# Fix: "for x, y" => "for i, (x, y)"
import torch
from torch.utils.data import DataLoader, TensorDataset
loader = DataLoader(TensorDataset(torch.randn(8, 2), torch.randn(8, 1)), batch_size=4)
net = torch.nn.Linear(2, 1)
for x, y in enumerate(loader):
    print(net(x))
