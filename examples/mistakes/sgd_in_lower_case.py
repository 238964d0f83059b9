# Wrong: torch.optim.sgd for torch.optim.SGD. Seen: TypeError, a module is no class.
# Code: FB-CALL-08
# Fix: "optim.sgd(" => "optim.SGD("
import torch

model = torch.nn.Linear(4, 2)
optimizer = torch.optim.sgd(model.parameters(), lr=0.1)
