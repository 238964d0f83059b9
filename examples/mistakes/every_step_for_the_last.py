# Wrong: scores of all steps for one class a sequence. Seen: RuntimeError.
# Code: FB-CLASS-06
# Fix: "(output, target)" => "(output[:, -1], target)"
import torch

output, state = torch.nn.LSTM(4, 3, batch_first=True)(torch.randn(2, 5, 4))
target = torch.tensor([0, 2])
loss = torch.nn.functional.cross_entropy(output, target)
