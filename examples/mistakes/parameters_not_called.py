# Wrong: model.parameters without (). Seen: TypeError, a method is no list.
# Code: FB-CALL-04
# Fix: "model.parameters," => "model.parameters(),"
import torch

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters, lr=0.1)
