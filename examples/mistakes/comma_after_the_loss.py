# Wrong: a comma at the end of the line. Seen: AttributeError.
# Code: FB-TYPE-16
# Fix: "net(x), y)," => "net(x), y)"
import torch
net = torch.nn.Linear(2, 1)
x, y = torch.randn(4, 2), torch.randn(4, 1)
loss = torch.nn.functional.mse_loss(net(x), y),
loss.backward()
