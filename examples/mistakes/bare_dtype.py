# Wrong: a dtype without torch. Seen: NameError.
# Code: FB-NAME-04
# Fix: "dtype=float32" => "dtype=torch.float32"
import torch
x = torch.zeros(2, 3, dtype=float32)
