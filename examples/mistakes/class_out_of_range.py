# Wrong: classes are counted from 1. Seen: IndexError, class 3 of 3 classes does not exist.
# Code: FB-CLASS-03
# Fix: "(scores, target)" => "(scores, target - 1)"
import torch

scores = torch.randn(4, 3, requires_grad=True)
target = torch.tensor([1, 2, 3, 1])
loss = torch.nn.functional.cross_entropy(scores, target)
