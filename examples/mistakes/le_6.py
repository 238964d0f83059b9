# Wrong: le-6 (letter l) for 1e-6 (digit one). Seen: NameError, Python reads "le minus 6".
# Code: FB-NAME-02
# Fix: "le-6\n" => "1e-6\n"
import torch

w = torch.randn(3, requires_grad=True)
learning_rate = le-6
w.sum().backward()
with torch.no_grad():
    w -= learning_rate * w.grad
