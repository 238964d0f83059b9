# Wrong: learning_rate is changed after the optimizer was made. Seen: no error; the optimizer keeps the old one.
# Code: FB-LOOP-04
# Fix: "learning_rate = 1e-4" => "learning_rate = 1e-3"
# Fix: "learning_rate = 1e-6\n" => ""
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
model = torch.nn.Linear(4, 2)
learning_rate = 1e-4
optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
learning_rate = 1e-6
for t in range(5):
    loss = (model(x) - y).pow(2).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
