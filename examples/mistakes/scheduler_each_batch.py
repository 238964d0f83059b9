# Wrong: the scheduler is meant for epochs, and called for each batch. Seen: no error.
# Code: FB-NUMBER-07
# Fix: "        optimizer.step()\n        scheduler.step()" => "        optimizer.step()\n    scheduler.step()"
import torch

torch.manual_seed(0)
data = [(torch.randn(16, 4), torch.randn(16, 1)) for _ in range(10)]
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
for epoch in range(3):
    for x, y in data:
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
