# Wrong: a method is given where its result is meant. Seen: TypeError.
# Code: FB-CALL-04
# Fix: "x.float)" => "x.float())"
import torch
x = torch.ones(2, 3, dtype=torch.float64)
net = torch.nn.Linear(3, 1)
print(net(x.float))
