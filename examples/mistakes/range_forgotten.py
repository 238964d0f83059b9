# Wrong: a loop over a number. Seen: TypeError.
# Code: FB-LOOP-08
# Fix: "in num_epochs" => "in range(num_epochs)"
import torch
num_epochs = 3
w = torch.zeros(2)
for epoch in num_epochs:
    w += 1
