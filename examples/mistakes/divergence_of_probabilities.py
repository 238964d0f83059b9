# Wrong: KLDivLoss of probabilities instead of their logarithms. Seen: no error; the loss is not the divergence.
# Code: FB-LOSS-05
# Fix: ".softmax(1), target" => ".log_softmax(1), target"
import torch
from torch import nn

torch.manual_seed(0)
x, target = torch.randn(64, 4), torch.randn(64, 3).softmax(1)
net = nn.Linear(4, 3)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
for t in range(20):
    loss = nn.functional.kl_div(net(x).softmax(1), target, reduction="batchmean")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
