# Wrong: NumPy's data are float64, the layer is float32. Seen: RuntimeError, the dtypes differ.
# Code: FB-DTYPE-01
# Fix: "model(torch.from_numpy(data))" => "model(torch.from_numpy(data).float())"
import numpy as np
import torch

data = np.random.randn(8, 4)
model = torch.nn.Linear(4, 2)
y = model(torch.from_numpy(data))
