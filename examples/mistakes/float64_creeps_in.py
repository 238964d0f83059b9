# Wrong: NumPy's float64 meets the net's float32. Seen: no error; from there on all is computed in float64.
# Code: FB-NUMBER-02
# Fix: "torch.from_numpy(scale)" => "torch.from_numpy(scale).float()"
import numpy as np
import torch

torch.manual_seed(0)
x, y = torch.randn(16, 4), torch.randn(16, 2)
scale = np.linspace(1.0, 2.0, 2)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for t in range(5):
    loss = (model(x) * torch.from_numpy(scale) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
