# Wrong: a scheduler is made of the optimizer. Seen: TypeError, Sequential is not an Optimizer.
# Code: FB-OPTIM-05
# Fix: "StepLR(model, " => "StepLR(optimizer, "
import torch

model = torch.nn.Sequential(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(model, step_size=3)
