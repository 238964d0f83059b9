# Wrong: the loss is made with the data, not called with them. Seen: RuntimeError, a tensor has no truth value.
# Code: FB-TYPE-08
# Fix: "MSELoss(pred, y)" => "MSELoss()(pred, y)"
import torch

pred, y = torch.randn(8, 2, requires_grad=True), torch.randn(8, 2)
loss = torch.nn.MSELoss(pred, y)
