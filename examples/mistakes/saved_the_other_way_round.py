# Wrong: what is saved comes first. Seen: AttributeError, expected 'f' to be string, path.
# Code: FB-STATE-02
# Fix: "torch.save(file, net.state_dict())" => "torch.save(net.state_dict(), file)"
import os
import tempfile
import torch

net, file = torch.nn.Linear(2, 1), os.path.join(tempfile.mkdtemp(), "net.pt")
torch.save(file, net.state_dict())
