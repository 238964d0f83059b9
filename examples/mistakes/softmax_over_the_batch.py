# Wrong: log_softmax over dim 0 of (N, C). Seen: no error; samples compete instead of classes.
# Code: FB-LOSS-07
# Fix: "dim=0" => "dim=1"
import torch
import torch.nn.functional as F

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
model = torch.nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for t in range(5):
    loss = F.nll_loss(F.log_softmax(model(x), dim=0), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
