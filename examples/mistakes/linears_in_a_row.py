# Wrong: two linear layers without an activation between them. Seen: no error; the net is a linear function, and learns no curve.
# Code: FB-PARAM-07
# Fix: "nn.Linear(1, 32), nn.Linear(32, 1)" => "nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1)"
import torch
from torch import nn

torch.manual_seed(0)
x = torch.linspace(-3, 3, 32).unsqueeze(1)
y = x.sin()
model = nn.Sequential(nn.Linear(1, 32), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(10):
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
