# Wrong: class numbers are floats. Seen: RuntimeError, they must be of dtype long.
# Code: FB-DTYPE-02
# Fix: "(scores, target)" => "(scores, target.long())"
import torch

scores = torch.randn(4, 3, requires_grad=True)
target = torch.tensor([0.0, 1.0, 2.0, 1.0])
loss = torch.nn.functional.cross_entropy(scores, target)
