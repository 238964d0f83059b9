# Wrong: the class numbers are a column, (N, 1). Seen: RuntimeError, cross_entropy wants (N,).
# Code: FB-CLASS-01
# Fix: "(scores, target)" => "(scores, target.squeeze(1))"
import torch

scores = torch.randn(8, 3, requires_grad=True)
target = torch.tensor([[0], [1], [2], [0], [1], [2], [0], [1]])
loss = torch.nn.functional.cross_entropy(scores, target)
