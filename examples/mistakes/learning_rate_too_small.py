# Wrong: the learning rate is a million times too small. Seen: no error; the loss stands still.
# Code: FB-NUMBER-06
# Fix: "lr=1e-8" => "lr=1e-2"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-8)
for t in range(25):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
