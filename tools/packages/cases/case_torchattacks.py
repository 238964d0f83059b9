# needs: torchattacks torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
import torchattacks

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(64, 5)).eval()
x, y = torch.rand(3, 3, 12, 12), torch.tensor([0, 2, 4])
for name, options in (("FGSM", {}), ("PGD", dict(steps=3)), ("BIM", dict(steps=3)), ("CW", dict(steps=5)), ("MIFGSM", dict(steps=3)), ("DeepFool", dict(steps=3)), ("TPGD", dict(steps=2)), ("Square", dict(n_queries=5))):
    torch.manual_seed(1)
    out = getattr(torchattacks, name)(net, **options)(x, y)
    R(name, (out - x).abs().max().item(), (out - x).norm().item())
