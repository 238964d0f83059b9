# Wrong: class numbers of 32 bits. Seen: RuntimeError.
# Code: FB-DTYPE-02
# Fix: ", y)" => ", y.long())"
import numpy as np
import torch
y = torch.from_numpy(np.array([0, 1, 1], dtype=np.int32))
loss = torch.nn.CrossEntropyLoss()(torch.randn(3, 2), y)
