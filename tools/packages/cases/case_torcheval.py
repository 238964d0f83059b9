# needs: torcheval deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import torch
from torcheval.metrics import (
    BinaryAUROC,
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    R2Score,
)
from torcheval.metrics.functional import binary_auprc, mean_squared_error, topk_multilabel_accuracy

torch.manual_seed(0)
p, y = torch.rand(40, 4), torch.randint(0, 4, (40,))
for metric in (MulticlassAccuracy(num_classes=4, average="macro"), MulticlassF1Score(num_classes=4), MulticlassConfusionMatrix(4)):
    metric.update(p[:20], y[:20])
    metric.update(p[20:], y[20:])
    R(type(metric).__name__, metric.compute().tolist())
auroc = BinaryAUROC()
auroc.update(p[:, 0], (y == 0).float())
R("auroc", auroc.compute().item(), binary_auprc(p[:, 0], (y == 0).float()).item())
r2 = R2Score()
r2.update(p[:, 0], p[:, 1])
other = R2Score()
other.update(p[:, 2], p[:, 3])
R("merged", r2.merge_state([other]).compute().item(), mean_squared_error(p[:, 0], p[:, 1]).item())
R("multilabel", topk_multilabel_accuracy(p, (p > 0.5).int(), k=2).item())
