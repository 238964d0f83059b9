# needs: ultralytics ultralytics-thop torchvision opencv-python-headless deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import torch
from ultralytics.nn.tasks import ClassificationModel, DetectionModel

torch.manual_seed(0)
model = DetectionModel("yolov8n.yaml", nc=4, verbose=False)
R("parameters", sum(p.numel() for p in model.parameters()))
x = torch.rand(1, 3, 64, 64)
model.train()
out = model(x)
out = out["one2many"] if isinstance(out, dict) and "one2many" in out else out
flat = [t for t in (out.values() if isinstance(out, dict) else out) if torch.is_tensor(t)]
R("train", *(t.float().mean().item() for t in flat))
model.eval()
with torch.no_grad():
    y = model(x)
y = y[0] if isinstance(y, (list, tuple)) else y
R("eval", tuple(y.shape), y.mean().item())
with torch.no_grad():
    fused = model.fuse(verbose=False)(x)
R("fused", (fused[0] if isinstance(fused, (list, tuple)) else fused).mean().item())
torch.manual_seed(0)
classify = ClassificationModel("yolov8n-cls.yaml", nc=5, verbose=False).train()
optimizer = torch.optim.SGD(classify.parameters(), lr=0.01, momentum=0.9)
images = torch.rand(4, 3, 64, 64)
for step in range(3):
    loss = torch.nn.functional.cross_entropy(classify(images), torch.arange(4))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    R(f"loss{step}", loss.item())
from ultralytics.utils.ops import xywh2xyxy

R("ops", xywh2xyxy(torch.tensor([[10.0, 10, 4, 6]])).tolist())
from ultralytics.cfg import get_cfg

torch.manual_seed(0)
model = DetectionModel("yolov8n.yaml", nc=4, verbose=False).train()
model.args = get_cfg()
batch = {"img": torch.rand(2, 3, 64, 64), "cls": torch.tensor([[1.0], [2.0]]), "bboxes": torch.tensor([[0.5, 0.5, 0.3, 0.4], [0.3, 0.6, 0.2, 0.2]]), "batch_idx": torch.tensor([0.0, 1.0])}
loss, parts = model(batch)
loss.sum().backward()
R("detection", *(float(v) for v in (parts.values() if isinstance(parts, dict) else parts)), next(model.parameters()).grad.norm().item())
