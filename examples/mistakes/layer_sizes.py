# Wrong: the second layer takes 64 features, the first one gives 32. Seen: RuntimeError, the shapes do not fit.
# Code: FB-SHAPE-02
# Fix: "torch.nn.Linear(64, 2)" => "torch.nn.Linear(32, 2)"
import torch

model = torch.nn.Sequential(
    torch.nn.Linear(8, 32),
    torch.nn.ReLU(),
    torch.nn.Linear(64, 2),
)
y = model(torch.randn(5, 8))
