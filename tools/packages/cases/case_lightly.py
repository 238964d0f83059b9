# needs: lightly torchvision timm deps
import copy

import torch
import torchvision
from lightly import loss
from lightly.models.modules import heads
from torch import nn

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)


class SimCLR(nn.Module):
    def __init__(self, b):
        super().__init__()
        self.backbone = b
        self.projection_head = heads.SimCLRProjectionHead(512, 512, 128)

    def forward(self, x):
        return self.projection_head(self.backbone(x).flatten(start_dim=1))


bb = torchvision.models.resnet18()
bb.fc = nn.Identity()
m = SimCLR(bb)
c = loss.NTXentLoss(temperature=0.5)
opt = torch.optim.SGD(m.parameters(), lr=0.1, weight_decay=1e-6)
a = torch.randn(4, 3, 32, 32)
b = a + 0.1 * torch.randn_like(a)
for _ in range(2):
    l = c(m(a), m(b))
    l.backward()
    opt.step()
    opt.zero_grad()
    print("RESULT simclr", l.item())
z = torch.randn(8, 16)
y = torch.randn(8, 16)
for n in ["BarlowTwinsLoss", "VICRegLoss", "NegativeCosineSimilarity", "DCLLoss", "DCLWLoss"]:
    print("RESULT", n, getattr(loss, n)()(z, y).item())
from lightly.loss import DINOLoss

print("RESULT dino", DINOLoss(output_dim=16, warmup_teacher_temp_epochs=5)([z, y], [y, z, z], epoch=0).item())
from lightly.models.utils import deactivate_requires_grad, update_momentum

t = copy.deepcopy(m)
deactivate_requires_grad(t)
update_momentum(m, t, m=0.99)
print("RESULT mom", sum(p.sum() for p in t.parameters()).item())
