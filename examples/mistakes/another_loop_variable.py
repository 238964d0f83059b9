# Wrong: the loop counts t, and it is printed. Seen: NameError.
# Code: FB-NAME-04
# Fix: "print(it," => "print(t,"
import torch

w = torch.zeros(3)
for t in range(3):
    print(it, w.sum().item())
