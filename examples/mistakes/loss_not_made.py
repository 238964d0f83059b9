# Wrong: the loss is the class, not an object of it. Seen: RuntimeError, Boolean value of Tensor.
# Code: FB-TYPE-08
# Fix: "loss_fn = nn.MSELoss" => "loss_fn = nn.MSELoss()"
import torch
from torch import nn

pred, y = torch.randn(8, 1), torch.randn(8, 1)
loss_fn = nn.MSELoss
print(loss_fn(pred, y))
