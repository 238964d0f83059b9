# Wrong: the learning rate is far too large. Seen: no error; the loss grows from step to step.
# Code: FB-NUMBER-03
# Fix: "lr=5.0" => "lr=0.1"
import torch

torch.manual_seed(0)
x, y = torch.randn(64, 4), torch.randn(64, 2)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
for t in range(10):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
