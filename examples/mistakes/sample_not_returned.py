# Wrong: a data set whose samples are None. Seen: TypeError.
# Code: FB-DATA-12
# Fix: "        x = self.x[i]" => "        return self.x[i]"
import torch
from torch.utils.data import DataLoader, Dataset
class Data(Dataset):
    def __init__(self):
        self.x = torch.randn(8, 2)
    def __len__(self):
        return 8
    def __getitem__(self, i):
        x = self.x[i]
for x in DataLoader(Data(), batch_size=4):
    print(x)
