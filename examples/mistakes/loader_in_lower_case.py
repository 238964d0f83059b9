# Wrong: torch.utils.data.dataloader for torch.utils.data.DataLoader. Seen: TypeError, a module is no class.
# Code: FB-CALL-08
# Fix: "data.dataloader(" => "data.DataLoader("
import torch
import torch.utils.data

rows = torch.utils.data.TensorDataset(torch.randn(8, 4))
loader = torch.utils.data.dataloader(rows, batch_size=2)
