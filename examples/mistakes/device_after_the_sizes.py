# Wrong: a device without its name. Seen: TypeError.
# Code: FB-CALL-09
# Fix: "4, 3, device" => "4, 3, device=device"
import torch
device = torch.device("cpu")
x = torch.randn(4, 3, device)
