# needs: torch-lr-finder deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from torch.utils.data import DataLoader, TensorDataset
from torch_lr_finder import LRFinder

torch.manual_seed(0)
x = torch.randn(64, 5)
net = torch.nn.Linear(5, 1)
finder = LRFinder(net, torch.optim.SGD(net.parameters(), lr=1e-4), torch.nn.MSELoss(), device="cpu")
finder.range_test(DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 8, shuffle=True), end_lr=1, num_iter=12)
R("losses", *(float(v) for v in finder.history["loss"]))
finder.reset()
R("reset", net.weight.sum().item())
