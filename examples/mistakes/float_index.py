# Wrong: an Embedding is given floats. Seen: RuntimeError, it looks up by integers.
# Code: FB-DTYPE-03
# Fix: "torch.tensor([1.0, 2.0])" => "torch.tensor([1.0, 2.0]).long()"
import torch

embedding = torch.nn.Embedding(10, 4)
y = embedding(torch.tensor([1.0, 2.0]))
