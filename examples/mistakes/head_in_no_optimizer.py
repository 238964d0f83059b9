# Wrong: the optimizer is given one of two nets that are to be trained. Seen: no error; the other stays as it was.
# Code: FB-PARAM-03
# Fix: "SGD(body.parameters(), " => "SGD([*body.parameters(), *head.parameters()], "
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
body = torch.nn.Linear(4, 8)
head = torch.nn.Linear(8, 2)
optimizer = torch.optim.SGD(body.parameters(), lr=0.01)
for t in range(5):
    loss = (head(body(x).tanh()) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
