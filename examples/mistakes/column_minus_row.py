# Wrong: (N, 1) minus (N,) is (N, N). Seen: no error; each answer is compared with every target.
# Code: FB-LOSS-02
# Fix: "model(x) - y" => "model(x).squeeze(1) - y"
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    loss = ((model(x) - y) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
