# Wrong: a layer is replaced after the optimizer was made. Seen: no error; the optimizer keeps the old one.
# Code: FB-PARAM-04
# Fix: "optimizer = torch.optim.SGD(model.parameters(), lr=0.01)\nmodel[2] = torch.nn.Linear(8, 3)\n" => "model[2] = torch.nn.Linear(8, 3)\noptimizer = torch.optim.SGD(model.parameters(), lr=0.01)\n"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 3)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
model[2] = torch.nn.Linear(8, 3)
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
