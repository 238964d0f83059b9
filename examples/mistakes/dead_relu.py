# Wrong: the biases start at -10, so ReLU gives nothing but zeros. Seen: no error; no gradient comes through.
# Code: FB-NUMBER-04
# Fix: "torch.nn.init.constant_(model[0].bias, -10.0)" => "torch.nn.init.zeros_(model[0].bias)"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
torch.nn.init.constant_(model[0].bias, -10.0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
