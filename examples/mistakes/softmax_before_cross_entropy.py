# Wrong: softmax before CrossEntropyLoss, which has one. Seen: no error; learning is slow and never sure.
# Code: FB-LOSS-03
# Fix: "loss_fn(torch.softmax(model(x), dim=1), y)" => "loss_fn(model(x), y)"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
model = torch.nn.Linear(4, 3)
loss_fn = torch.nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for t in range(5):
    loss = loss_fn(torch.softmax(model(x), dim=1), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
