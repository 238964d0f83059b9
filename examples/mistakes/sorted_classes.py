# Wrong: the data are sorted by class and not shuffled. Seen: no error; each batch unlearns the ones before.
# Code: FB-DATA-01
# Fix: "batch_size=16)" => "batch_size=16, shuffle=True)"
import torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, y = torch.randn(64, 4), torch.arange(4).repeat_interleave(16)
loader = DataLoader(TensorDataset(x, y), batch_size=16)
model = torch.nn.Linear(4, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for images, labels in loader:
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
