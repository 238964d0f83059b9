# Wrong: .2f is for one number, and x has three. Seen: TypeError.
# Code: FB-TYPE-14
# Fix: "{x:.2f}" => "{x.mean().item():.2f}"
import torch

x = torch.randn(3)
print(f"mean of x: {x:.2f}")
