# needs: ptflops torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from ptflops import get_model_complexity_info
from torchvision.models import resnet18

torch.manual_seed(0)
model = resnet18(weights=None)
macs, parameters = get_model_complexity_info(model, (3, 64, 64), as_strings=False, print_per_layer_stat=False, verbose=False, backend="pytorch")
R("pytorch", macs, parameters)
macs, parameters = get_model_complexity_info(model, (3, 64, 64), as_strings=False, print_per_layer_stat=False, verbose=False, backend="aten")
R("aten", macs, parameters)
