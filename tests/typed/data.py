from collections.abc import Iterator

import flambeau as torch
from flambeau import Tensor
from flambeau.utils.data import DataLoader, Dataset, TensorDataset


class Squares(Dataset[tuple[Tensor, int]]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.full((2,), float(index)), index**2


def batches() -> Iterator[Tensor]:
    for x, _ in DataLoader(Squares(5), batch_size=2, shuffle=False):
        yield x


pairs = TensorDataset(torch.arange(4), torch.zeros(4))
print(len(pairs), sum(int(b.shape[0]) for b in batches()))
