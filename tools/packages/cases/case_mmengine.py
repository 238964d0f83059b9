# needs: mmengine opencv-python-headless torchvision deps

import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class D(Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        return torch.randn(3, 8, 8, generator=g), i % 3


class M(BaseModel):
    def __init__(self):
        super().__init__()
        self.c = torch.nn.Conv2d(3, 4, 3)
        self.f = torch.nn.Linear(4 * 36, 3)

    def forward(self, imgs, labels, mode):
        x = self.f(self.c(imgs).relu().flatten(1))
        if mode == "loss":
            return {"loss": F.cross_entropy(x, labels)}
        return x, labels


class Acc(BaseMetric):
    def process(self, data_batch, data_samples):
        sc, gt = data_samples
        self.results.append({"n": len(gt), "c": (sc.argmax(1) == gt).sum().cpu()})

    def compute_metrics(self, r):
        return dict(accuracy=100 * sum(i["c"] for i in r) / sum(i["n"] for i in r))


r = Runner(
    model=M(),
    work_dir="work",
    train_dataloader=DataLoader(D(), batch_size=8),
    optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01, momentum=0.9)),
    train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1),
    val_dataloader=DataLoader(D(), batch_size=8),
    val_cfg=dict(),
    val_evaluator=dict(type=Acc),
    log_level="ERROR",
    randomness=dict(seed=3),
)
m = r.train()
print("RESULT w", sum(p.double().abs().sum() for p in m.parameters()).item())
print("RESULT val", {k: float(v) for k, v in r.val().items()})
