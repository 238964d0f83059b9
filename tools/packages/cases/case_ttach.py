# needs: ttach deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
import ttach as tta

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 3, padding=1)).eval()
x = torch.randn(2, 3, 8, 8)
R("segmentation", tta.SegmentationTTAWrapper(net, tta.aliases.d4_transform(), merge_mode="mean")(x).sum().item())
classify = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3))
R("classification", tta.ClassificationTTAWrapper(classify, tta.Compose([tta.HorizontalFlip(), tta.Multiply([0.9, 1.1]), tta.Rotate90([0, 90])]))(x).sum().item())
