# Wrong: cross_entropy(target, scores). Seen: NotImplementedError, the scores come first.
# Code: FB-CLASS-05
# Fix: "(target, scores)" => "(scores, target)"
import torch

scores, target = torch.randn(4, 3), torch.tensor([0, 2, 1, 0])
loss = torch.nn.functional.cross_entropy(target, scores)
