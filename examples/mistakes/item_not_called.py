# Wrong: loss.item without (). Seen: no error; the printed "loss" is a method, not a number.
# Code: FB-LOOP-02
# Fix: "loss.item)" => "loss.item())"
import torch

x = torch.randn(8, 3)
loss = x.pow(2).sum()
print(0, loss.item)
