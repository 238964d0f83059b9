# Wrong: BCEWithLogitsLoss of (8, 1) and (8,). Seen: ValueError.
# Code: FB-LOSS-06
# Fix: "(scores, target)" => "(scores, target.view_as(scores))"
import torch

scores, target = torch.randn(8, 1), torch.ones(8)
loss = torch.nn.BCEWithLogitsLoss()(scores, target)
