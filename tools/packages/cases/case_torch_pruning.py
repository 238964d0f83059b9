# needs: torch-pruning torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
import torch_pruning as tp
from torchvision.models import resnet18

torch.manual_seed(0)
model = resnet18(weights=None).eval()
x = torch.randn(1, 3, 32, 32)
R("before", *tp.utils.count_ops_and_params(model, x))
pruner = tp.pruner.MagnitudePruner(model, x, importance=tp.importance.MagnitudeImportance(p=2), pruning_ratio=0.5, ignored_layers=[model.fc])
pruner.step()
R("after", *tp.utils.count_ops_and_params(model, x))
R("output", model(x).std().item(), model.layer2[0].conv1.out_channels)
