import io

import flambeau as torch
from flambeau import nn

net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
buffer = io.BytesIO()
torch.save({"net": net.state_dict(), "epoch": 3}, buffer)
buffer.seek(0)
loaded = torch.load(buffer, map_location="cpu", weights_only=True)
print(net.load_state_dict(loaded["net"]), loaded["epoch"], sum(p.numel() for p in net.parameters()))
for name, parameter in net.named_parameters():
    print(name, tuple(parameter.shape), parameter.requires_grad)
