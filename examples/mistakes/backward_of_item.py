# Wrong: item() makes the loss a number. Seen: AttributeError, a float has no backward.
# Code: FB-GRAPH-08
# Fix: "mean().item()" => "mean()"
import torch

model = torch.nn.Linear(4, 2)
loss = model(torch.randn(3, 4)).pow(2).mean().item()
loss.backward()
