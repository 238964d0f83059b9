# Wrong: sigmoid before BCEWithLogitsLoss, which has one. Seen: no error; learning is slow and never sure.
# Code: FB-LOSS-04
# Fix: "torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.Sigmoid())" => "torch.nn.Linear(4, 1)"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randint(0, 2, (16, 1)).float()
model = torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.Sigmoid())
loss_fn = torch.nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for t in range(5):
    loss = loss_fn(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
