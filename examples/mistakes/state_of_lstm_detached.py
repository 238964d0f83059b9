# Wrong: the state of an LSTM is a pair. Seen: AttributeError.
# Code: FB-TYPE-16
# Fix: "h = h.detach()" => "h = tuple(t.detach() for t in h)"
import torch
rnn = torch.nn.LSTM(2, 4, batch_first=True)
h = None
for x in torch.randn(3, 4, 5, 2):
    out, h = rnn(x, h)
    h = h.detach()
