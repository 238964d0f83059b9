# Wrong: a loss by NumPy's functions. Seen: RuntimeError.
# Code: FB-GRAPH-05
# Fix: "np.square" => "torch.square"
# Fix: "import numpy as np\n" => ""
import torch
import numpy as np
w = torch.randn(3, requires_grad=True)
loss = np.square(w - 1).sum()
loss.backward()
