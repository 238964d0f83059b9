# Wrong: the state of a batch is too large for the last one. Seen: RuntimeError.
# Code: FB-SHAPE-13
# Fix: "rnn(x, h.detach())" => "rnn(x)"
import torch
rnn = torch.nn.GRU(2, 4, batch_first=True)
h = torch.zeros(1, 8, 4)
for x in torch.randn(20, 5, 2).split(8):
    out, h = rnn(x, h.detach())
