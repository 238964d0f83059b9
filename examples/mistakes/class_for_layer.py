# Wrong: ReLU without () is a class, not a layer. Seen: TypeError, it is no Module.
# Code: FB-TYPE-04
# Fix: "ReLU)" => "ReLU())"
import torch

model = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU)
