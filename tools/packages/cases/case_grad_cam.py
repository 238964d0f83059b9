# needs: grad-cam ttach torchvision opencv-python-headless deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, LayerCAM, XGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchvision.models import resnet18

torch.manual_seed(0)
model = resnet18(weights=None).eval()
x = torch.randn(1, 3, 64, 64)
for cam in (GradCAM, GradCAMPlusPlus, XGradCAM, LayerCAM, EigenCAM):
    with cam(model=model, target_layers=[model.layer2[-1]]) as c:
        out = c(input_tensor=x.clone(), targets=[ClassifierOutputTarget(3)])
    R(cam.__name__, out.shape, float(out.mean()))
