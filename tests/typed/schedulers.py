from typing import Any

import flambeau as torch
from flambeau import nn, optim
from flambeau.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, StepLR

model = nn.Linear(2, 1)
groups: list[dict[str, Any]] = [{"params": [model.weight], "lr": 1e-2}, {"params": [model.bias]}]
optimizer = optim.AdamW(groups, lr=1e-3, weight_decay=0.1)
schedulers = [StepLR(optimizer, step_size=2, gamma=0.5), CosineAnnealingLR(optimizer, T_max=10), LambdaLR(optimizer, lambda epoch: 0.9**epoch)]
for _ in range(2):
    loss = model(torch.ones(1, 2)).pow(2).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    optimizer.step()
    for scheduler in schedulers:
        scheduler.step()
print([round(group["lr"], 6) for group in optimizer.param_groups])
