# Wrong: item without brackets is added. Seen: TypeError.
# Code: FB-CALL-04
# Fix: "loss.item" => "loss.item()"
import torch
total = 0.0
for t in range(3):
    loss = torch.randn(4).mean()
    total += loss.item
print(total)
