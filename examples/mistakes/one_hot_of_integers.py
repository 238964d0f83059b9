# Wrong: rows of one-hot integers as the target of CrossEntropyLoss. Seen: RuntimeError, class numbers are wanted.
# Code: FB-CLASS-02
# Fix: "(scores, target)" => "(scores, target.argmax(1))"
import torch
import torch.nn.functional as F

scores = torch.randn(4, 3, requires_grad=True)
target = F.one_hot(torch.tensor([0, 2, 1, 0]), 3)
loss = torch.nn.CrossEntropyLoss()(scores, target)
