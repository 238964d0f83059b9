# Wrong: weights that were loaded are called. Seen: TypeError.
# Code: FB-STATE-04
# Fix: "net = torch.load(file)" => "net.load_state_dict(torch.load(file))"
import io
import torch
file = io.BytesIO()
net = torch.nn.Linear(2, 1)
torch.save(net.state_dict(), file)
file.seek(0)
net = torch.load(file)
print(net(torch.randn(3, 2)))
