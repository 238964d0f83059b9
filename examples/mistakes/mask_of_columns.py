# Wrong: the mask is for columns, and the first index belongs to rows. Seen: IndexError.
# Code: FB-INDEX-02
# Fix: "x[chosen]" => "x[:, chosen]"
import torch

x = torch.randn(4, 3)
chosen = torch.tensor([True, False, True])
print(x[chosen].shape)
