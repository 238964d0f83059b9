# Wrong: the loss is made of numbers that were read out, not of what the net gave. Seen: no error.
# Code: FB-PARAM-05
# Fix: "torch.tensor(model(x).tolist(), requires_grad=True)" => "model(x)"
import torch

torch.manual_seed(0)
x, y = torch.randn(32, 4), torch.randn(32, 1)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(20):
    answer = torch.tensor(model(x).tolist(), requires_grad=True)
    loss = torch.nn.functional.mse_loss(answer, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
