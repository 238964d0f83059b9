# Wrong: batches first, for a layer whose first dim are the steps. Seen: no error; samples are mixed.
# Code: FB-SHAPE-22
# Fix: "nn.LSTM(4, 8)" => "nn.LSTM(4, 8, batch_first=True)"
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(16, 16, 4)
y = x.sum((1, 2)).unsqueeze(1)
rnn, head = nn.LSTM(4, 8), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*rnn.parameters(), *head.parameters()], lr=0.05)
for t in range(20):
    out, _ = rnn(x)
    loss = nn.functional.mse_loss(head(out[:, -1]), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
