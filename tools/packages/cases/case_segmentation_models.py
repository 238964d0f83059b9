# needs: segmentation-models-pytorch timm torchvision deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import segmentation_models_pytorch as smp
import torch

x, y = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)), torch.randint(0, 2, (2, 1, 64, 64), generator=torch.Generator().manual_seed(4))
for make, encoder in ((smp.Unet, "resnet18"), (smp.FPN, "mobilenet_v2"), (smp.DeepLabV3Plus, "resnet18"), (smp.Linknet, "timm-mobilenetv3_small_100")):
    torch.manual_seed(0)
    model = make(encoder, encoder_weights=None, classes=1)
    model.eval()
    with torch.no_grad():
        R(make.__name__, model(x).std().item())
torch.manual_seed(0)
model = smp.Unet("resnet18", encoder_weights=None, classes=1)
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
for step in range(2):
    logits = model(x)
    loss = smp.losses.DiceLoss("binary")(logits, y) + smp.losses.FocalLoss("binary")(logits, y) + smp.losses.SoftBCEWithLogitsLoss()(logits, y.float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    R(f"loss{step}", loss.item())
tp, fp, fn, tn = smp.metrics.get_stats((logits > 0).long(), y, mode="binary")
R("iou", smp.metrics.iou_score(tp, fp, fn, tn, reduction="micro").item())
