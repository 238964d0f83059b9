# Wrong: a missing value makes an array of objects. Seen: TypeError, can't convert np.ndarray.
# Code: FB-DATA-07
# Fix: "torch.from_numpy(ages)" => "torch.from_numpy(np.where(ages == None, 0, ages).astype(np.float32))"
import numpy as np
import torch

ages = np.array([31, None, 54])
x = torch.from_numpy(ages)
