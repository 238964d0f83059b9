# Wrong: NumPy's dot of matrices. Seen: RuntimeError.
# Code: FB-SHAPE-14
# Fix: "x.dot(w1)" => "x @ w1"
import torch
x, w1 = torch.randn(8, 5), torch.randn(5, 3)
h = x.dot(w1)
