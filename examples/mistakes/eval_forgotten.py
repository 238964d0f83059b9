# Wrong: the test runs in training mode. Seen: no error; dropout makes the test worse, and random.
# Code: FB-MODE-01
# Fix: "with torch.no_grad():" => "model.eval()\nwith torch.no_grad():"
import torch

torch.manual_seed(0)
x, y = torch.randn(32, 4), torch.randint(0, 3, (32,))
model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for t in range(5):
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with torch.no_grad():
    accuracy = (model(x).argmax(1) == y).float().mean()
