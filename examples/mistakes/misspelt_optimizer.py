# Wrong: the optimizer is called optimzer in one line and optimer in the next. Seen: NameError.
# Code: FB-NAME-04
# Fix: "\noptimer." => "\noptimzer."
import torch

models = torch.nn.Linear(4, 2)
optimzer = torch.optim.Adam(models.parameters(), lr=1e-4)
optimer.zero_grad()
