# Wrong: / gives a float, and a size is an integer. Seen: TypeError.
# Code: FB-CALL-09
# Fix: "n / 2" => "n // 2"
import torch

n = 10
half = n / 2
x = torch.randn(half, 3)
