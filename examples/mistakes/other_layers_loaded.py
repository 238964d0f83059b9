# Wrong: the saved net is of other sizes. Seen: RuntimeError, the shapes differ.
# Code: FB-STATE-01
# Fix: "model = torch.nn.Linear(4, 2)" => "model = torch.nn.Linear(4, 3)"
import torch

saved = torch.nn.Linear(4, 3).state_dict()
model = torch.nn.Linear(4, 2)
model.load_state_dict(saved)
