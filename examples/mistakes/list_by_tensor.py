# Wrong: a list takes one integer, not a tensor of several. Seen: TypeError.
# Code: FB-TYPE-09
# Fix: "names[order]" => "[names[k] for k in order.tolist()]"
import torch

names = ["cat", "dog", "bird"]
order = torch.tensor([2, 0])
print(names[order])
