# Wrong: Adam is made anew in each step, and forgets its running means. Seen: no error.
# Code: FB-OPTIM-06
# Fix: "for t in range(20):\n    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)\n" => "optimizer = torch.optim.Adam(model.parameters(), lr=0.01)\nfor t in range(20):\n"
import torch

torch.manual_seed(0)
x, y = torch.randn(32, 4), torch.randn(32, 1)
model = torch.nn.Linear(4, 1)
for t in range(20):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss = torch.nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
