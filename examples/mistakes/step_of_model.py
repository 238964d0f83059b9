# Wrong: step is a method of the optimizer. Seen: AttributeError.
# Code: FB-NAME-08
# Fix: "model.step()" => "optimizer.step()"
import torch

x, y = torch.randn(8, 4), torch.randn(8, 1)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(3):
    loss = torch.nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    model.step()
