# Wrong: zero_grad is a method of the optimizer. Seen: AttributeError.
# Code: FB-NAME-08
# Fix: "loss.zero_grad()" => "optimizer.zero_grad()"
import torch

x, y = torch.randn(8, 4), torch.randn(8, 1)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(3):
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.zero_grad()
    loss.backward()
    optimizer.step()
