# Wrong: the method state_dict is saved, not its result. Seen: UnpicklingError.
# Code: FB-STATE-05
# Fix: "net.state_dict," => "net.state_dict(),"
import io
import torch
file = io.BytesIO()
net = torch.nn.Linear(2, 1)
torch.save(net.state_dict, file)
file.seek(0)
net.load_state_dict(torch.load(file))
