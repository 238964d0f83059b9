# Wrong: rows of other lengths. Seen: ValueError, that is no table.
# Code: FB-DATA-02
# Fix: "torch.tensor([[1, 2, 3], [4, 5]])" => "torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in [[1, 2, 3], [4, 5]]], batch_first=True)"
import torch

x = torch.tensor([[1, 2, 3], [4, 5]])
