# Wrong: the file was saved into another folder. Seen: FileNotFoundError.
# Code: FB-DATA-09
# Fix: "torch.load(\"net.pt\")" => "torch.load(os.path.join(folder, \"net.pt\"))"
import os
import tempfile
import torch

net, folder = torch.nn.Linear(2, 1), tempfile.mkdtemp()
torch.save(net.state_dict(), os.path.join(folder, "net.pt"))
net.load_state_dict(torch.load("net.pt"))
