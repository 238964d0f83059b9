# Wrong: a method of another framework's tensors. Seen: AttributeError.
# Code: FB-NAME-06
# Fix: "attach_grad" => "requires_grad_"
import torch
x = torch.arange(4.0)
x.attach_grad()
y = 2 * x.dot(x)
y.backward()
