# Wrong: max along a dim where ReLU is meant. Seen: AttributeError.
# Code: FB-TYPE-12
# Fix: "torch.max(x.mm(w1), 0)" => "x.mm(w1).clamp(min=0)"
import torch
x, w1, w2 = torch.randn(8, 5), torch.randn(5, 3), torch.randn(3, 1)
h_relu = torch.max(x.mm(w1), 0)
y = h_relu.mm(w2)
