# Wrong: %.2f is for one number, and x has three. Seen: ValueError, only one element tensors can be converted.
# Code: FB-TYPE-10
# Fix: "% x)" => "% x.mean().item())"
import torch

x = torch.randn(3)
print("mean of x: %.2f" % x)
