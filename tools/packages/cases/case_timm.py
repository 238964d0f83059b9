# needs: timm torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import timm
import torch
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler

x = torch.Generator().manual_seed(1)
x = torch.randn(2, 3, 64, 64, generator=x)
for name in ("resnet18", "efficientnet_b0", "mobilenetv3_small_050", "convnext_atto"):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5).eval()
    with torch.no_grad():
        R(name, sum(p.numel() for p in model.parameters()), model(x).std().item())
torch.manual_seed(0)
vit = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=5).eval()
R("vit", vit(x).std().item(), vit.forward_features(x).norm().item())
torch.manual_seed(0)
features = timm.create_model("resnet18", features_only=True, out_indices=(1, 3)).eval()
R("features", *(f.mean().item() for f in features(x)), features.feature_info.channels())
torch.manual_seed(0)
model = timm.create_model("resnet10t", num_classes=5, drop_path_rate=0.1)
optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05)
scheduler = CosineLRScheduler(optimizer, t_initial=5, warmup_t=2, warmup_lr_init=1e-5)
for step in range(3):
    loss = SoftTargetCrossEntropy()(model(x), torch.softmax(torch.randn(2, 5), -1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step(step + 1)
    R(f"step{step}", loss.item(), optimizer.param_groups[0]["lr"])
