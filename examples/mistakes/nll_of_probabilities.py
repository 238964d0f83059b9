# Wrong: NLLLoss of probabilities; it takes their logarithms. Seen: no error; the loss is negative.
# Code: FB-LOSS-05
# Fix: "torch.softmax(model(x), dim=1)" => "torch.log_softmax(model(x), dim=1)"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
model = torch.nn.Linear(4, 3)
loss_fn = torch.nn.NLLLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for t in range(5):
    loss = loss_fn(torch.softmax(model(x), dim=1), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
