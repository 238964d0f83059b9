# Wrong: the optimizer is given a tensor. Seen: TypeError, it wants a list of them.
# Code: FB-OPTIM-03
# Fix: "SGD(w," => "SGD([w],"
import torch

w = torch.randn(3, requires_grad=True)
optimizer = torch.optim.SGD(w, lr=0.1)
