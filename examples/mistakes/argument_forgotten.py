# Wrong: nn.Linear is given one size of two. Seen: TypeError.
# Code: FB-CALL-02
# Fix: "Linear(4)" => "Linear(4, 2)"
import torch

layer = torch.nn.Linear(4)
