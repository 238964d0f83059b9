# Wrong: numpy() of a tensor that is on the tape. Seen: RuntimeError, detach it first.
# Code: FB-GRAPH-05
# Fix: ".numpy()" => ".detach().numpy()"
import torch

model = torch.nn.Linear(4, 2)
y = model(torch.randn(3, 4)).numpy()
