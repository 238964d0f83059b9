# Wrong: true in lower case. Seen: NameError.
# Code: FB-NAME-04
# Fix: "=true" => "=True"
import torch
w = torch.randn(3, requires_grad=true)
