# Wrong: the length of one number. Seen: TypeError.
# Code: FB-TYPE-15
# Fix: ".mean()" => ""
import torch
losses = torch.randn(8).mean()
for i in range(len(losses)):
    print(losses[i])
