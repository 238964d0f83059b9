# Wrong: a Dataset without __len__. Seen: TypeError from the DataLoader.
# Code: FB-DATA-03
# Fix: "    def __getitem__" => "    def __len__(self):\n        return 4\n\n    def __getitem__"
import torch
from torch.utils.data import DataLoader, Dataset


class Data(Dataset):
    def __getitem__(self, i):
        return torch.zeros(2)


n = len(DataLoader(Data()))
