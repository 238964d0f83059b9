# needs: lion-pytorch schedulefree prodigyopt pytorch-warmup deps
# about: lion-pytorch schedulefree prodigyopt pytorch-warmup
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import pytorch_warmup
import torch
from lion_pytorch import Lion
from prodigyopt import Prodigy
from schedulefree import AdamWScheduleFree, RAdamScheduleFree, SGDScheduleFree

makers = {"Lion": lambda p: Lion(p, lr=1e-2, weight_decay=1e-2), "Prodigy": lambda p: Prodigy(p), "AdamWScheduleFree": lambda p: AdamWScheduleFree(p, lr=1e-2),
          "RAdamScheduleFree": lambda p: RAdamScheduleFree(p, lr=1e-2), "SGDScheduleFree": lambda p: SGDScheduleFree(p, lr=0.1), "Warmup": lambda p: torch.optim.AdamW(p, lr=1e-2)}
for name, make in makers.items():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    x = torch.randn(16, 4)
    optimizer = make(net.parameters())
    warmup = pytorch_warmup.LinearWarmup(optimizer, 3) if name == "Warmup" else None
    if hasattr(optimizer, "train"):
        optimizer.train()
    for _ in range(4):
        optimizer.zero_grad()
        loss = net(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        if warmup:
            with warmup.dampening():
                pass
    if hasattr(optimizer, "eval"):
        optimizer.eval()
    R(name, loss.item(), net(x).pow(2).mean().item())
