# Wrong: a layer is given a list. Seen: TypeError, it takes a tensor.
# Code: FB-TYPE-02
# Fix: "model([1.0, 2.0])" => "model(torch.tensor([1.0, 2.0]))"
import torch

model = torch.nn.Linear(2, 1)
y = model([1.0, 2.0])
