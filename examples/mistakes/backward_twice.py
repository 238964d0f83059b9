# Wrong: backward through a graph that was gone through before. Seen: RuntimeError, its values are freed.
# Code: FB-GRAPH-02
# Fix: "h = w.exp()\nfor t in range(2):\n" => "for t in range(2):\n    h = w.exp()\n"
import torch

w = torch.randn(3, requires_grad=True)
h = w.exp()
for t in range(2):
    loss = (h * h).sum()
    loss.backward()
