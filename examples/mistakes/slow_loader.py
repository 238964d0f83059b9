# Wrong: each sample is decoded anew whenever it is asked for, which takes longer than the step. Seen: no error; training is slow.
# Code: FB-DATA-06
# Fix: "return decode(i), i % 2" => "return self.pictures[i], i % 2"
# Fix: "self.count = 64" => "self.pictures = [decode(i) for i in range(64)]"
import time

import torch
from torch.utils.data import DataLoader, Dataset


def decode(i):
    time.sleep(0.005)  # as a large picture takes
    return torch.full((4,), i / 64)


class Pictures(Dataset):
    def __init__(self):
        self.count = 64

    def __len__(self):
        return 64

    def __getitem__(self, i):
        return decode(i), i % 2


torch.manual_seed(0)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in DataLoader(Pictures(), batch_size=8, shuffle=True):
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
