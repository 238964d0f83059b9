# Wrong: a dtype in quotes. Seen: TypeError.
# Code: FB-DTYPE-08
# Fix: "'float32'" => "torch.float32"
import torch
x = torch.zeros(2, 3, dtype='float32')
