# needs: torchcam torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from torchcam.methods import CAM, GradCAM, LayerCAM, SmoothGradCAMpp
from torchvision.models import resnet18

torch.manual_seed(0)
model = resnet18(weights=None).eval()
x = torch.randn(1, 3, 64, 64)
for method in (CAM, GradCAM, LayerCAM, SmoothGradCAMpp):
    torch.manual_seed(1)
    with method(model, "layer4" if method is not CAM else None) as extractor:
        scores = model(x)
        maps = extractor(3, scores)
    R(method.__name__, tuple(maps[0].shape), maps[0].mean().item())
