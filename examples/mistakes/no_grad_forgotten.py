# Wrong: the test records a graph. Seen: no error; it takes memory and time for gradients that nobody asks for.
# Code: FB-MODE-03
# Fix: "for i in range(4):\n    accuracy += (model(x[i * 8 : i * 8 + 8])" => "with torch.no_grad():\n  for i in range(4):\n    accuracy += (model(x[i * 8 : i * 8 + 8])"
import torch

torch.manual_seed(0)
x, y = torch.randn(32, 4), torch.randint(0, 3, (32,))
model = torch.nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for t in range(5):
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
model.eval()
accuracy = 0
for i in range(4):
    accuracy += (model(x[i * 8 : i * 8 + 8]).argmax(1) == y[i * 8 : i * 8 + 8]).float().mean()
