# Wrong: an LSTM gives (output, (h, c)), and all of it goes on. Seen: TypeError, a tuple is no tensor.
# Code: FB-TYPE-01
# Fix: "head(h)" => "head(h[0])"
import torch

lstm = torch.nn.LSTM(4, 8, batch_first=True)
head = torch.nn.Linear(8, 1)
h = lstm(torch.randn(2, 5, 4))
y = head(h)
