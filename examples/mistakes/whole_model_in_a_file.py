# Wrong: a whole model is saved, and weights are loaded. Seen: UnpicklingError.
# Code: FB-STATE-05
# Fix: "save(net," => "save(net.state_dict(),"
import io
import torch
file = io.BytesIO()
net = torch.nn.Linear(2, 1)
torch.save(net, file)
file.seek(0)
net.load_state_dict(torch.load(file))
