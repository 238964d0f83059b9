# Wrong: w2 is made as (N, D_out) and must be (H, D_out). Seen: RuntimeError from mm, the shapes do not fit.
# Code: FB-SHAPE-01
# Fix: "torch.randn(N, D_out)" => "torch.randn(H, D_out)"
import torch

N, D_in, H, D_out = 64, 1000, 100, 10
x = torch.randn(N, D_in)
w1 = torch.randn(D_in, H)
w2 = torch.randn(N, D_out)

h_relu = x.mm(w1).clamp(min=0)
y_pred = h_relu.mm(w2)
