# Wrong: momentum by place, where Adam has betas. Seen: TypeError.
# Code: FB-OPTIM-07
# Fix: "0.01, 0.9" => "0.01, betas=(0.9, 0.999)"
import torch
net = torch.nn.Linear(2, 1)
optimizer = torch.optim.Adam(net.parameters(), 0.01, 0.9)
