# Wrong: the optimizer is given the model. Seen: TypeError, it wants the model's parameters.
# Code: FB-TYPE-07
# Fix: "SGD(model," => "SGD(model.parameters(),"
import torch

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model, lr=0.1)
