# Wrong: word 10 of ten words. Seen: IndexError, they are numbered from 0 to 9.
# Code: FB-INDEX-01
# Fix: "Embedding(10, 3)" => "Embedding(11, 3)"
import torch

y = torch.nn.Embedding(10, 3)(torch.tensor([10]))
