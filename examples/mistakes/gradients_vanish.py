# Wrong: twelve layers of sigmoid. Seen: no error; the gradients of the first layers are next to nothing.
# Code: FB-NUMBER-05
# Fix: "torch.nn.Sigmoid()" => "torch.nn.Tanh()"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 4)
layers = []
for _ in range(12):
    layers += [torch.nn.Linear(4, 4), torch.nn.Sigmoid()]
model = torch.nn.Sequential(*layers, torch.nn.Linear(4, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
