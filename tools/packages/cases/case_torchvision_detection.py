# needs: torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import torch
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

torch.manual_seed(0)
model = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=4, min_size=96, max_size=128)
images = [torch.rand(3, 96, 96), torch.rand(3, 80, 100)]
targets = [{"boxes": torch.tensor([[5.0, 5, 40, 50]]), "labels": torch.tensor([1])}, {"boxes": torch.tensor([[10.0, 20, 60, 70]]), "labels": torch.tensor([2])}]
losses = model(images, targets)
R("losses", *(f"{k}={v.item():.5g}" for k, v in losses.items()))
model.eval()
with torch.no_grad():
    R("detections", *(len(d["boxes"]) for d in model(images)))
