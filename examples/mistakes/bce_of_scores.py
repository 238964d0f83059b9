# Wrong: BCELoss of scores; it takes probabilities. Seen: RuntimeError, they are not in [0, 1].
# Code: FB-LOSS-01
# Fix: "BCELoss()" => "BCEWithLogitsLoss()"
import torch

scores = torch.tensor([-2.0, 3.0], requires_grad=True)
loss = torch.nn.BCELoss()(scores, torch.tensor([0.0, 1.0]))
