# Wrong: log of probabilities that can be 0. Seen: no error; the loss and all weights become NaN.
# Code: FB-NUMBER-01
# Fix: "p * torch.log(p)" => "p * torch.log(p + 1e-8)"
import torch

torch.manual_seed(0)
x = torch.randn(16, 4)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    p = torch.relu(model(x))
    loss = (p * torch.log(p)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
