# Wrong: the data set has the inputs alone, and the loop wants pairs. Seen: ValueError, not enough values to unpack.
# Code: FB-DATA-08
# Fix: "TensorDataset(x)" => "TensorDataset(x, y)"
import torch
from torch.utils.data import DataLoader, TensorDataset

x, y = torch.randn(8, 2), torch.randn(8)
loader = DataLoader(TensorDataset(x), batch_size=4)
for inputs, targets in loader:
    print(inputs.shape, targets.shape)
