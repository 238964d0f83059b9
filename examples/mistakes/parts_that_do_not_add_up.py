# Wrong: parts that do not add up to the whole. Seen: ValueError.
# Code: FB-DATA-11
# Fix: "[8, 3]" => "[8, 2]"
import torch
from torch.utils.data import TensorDataset, random_split
data = TensorDataset(torch.randn(10, 2))
train, test = random_split(data, [8, 3])
