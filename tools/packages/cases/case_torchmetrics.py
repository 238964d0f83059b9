# needs: torchmetrics lightning-utilities deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import torch
import torchmetrics
from torchmetrics import MetricCollection
from torchmetrics.audio import ScaleInvariantSignalDistortionRatio
from torchmetrics.classification import (
    BinaryAveragePrecision,
    BinaryROC,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
from torchmetrics.regression import MeanSquaredError, PearsonCorrCoef, R2Score, SpearmanCorrCoef
from torchmetrics.retrieval import RetrievalMAP
from torchmetrics.text import BLEUScore, Perplexity, WordErrorRate

torch.manual_seed(0)
metrics = MetricCollection({"accuracy": MulticlassAccuracy(4), "auroc": MulticlassAUROC(4), "f1": MulticlassF1Score(4, average="macro"), "ece": MulticlassCalibrationError(4)})
for _ in range(3):
    metrics.update(torch.randn(20, 4).softmax(-1), torch.randint(0, 4, (20,)))
for name, value in metrics.compute().items():
    R(name, value.item())
confusion = MulticlassConfusionMatrix(3)
confusion.update(torch.tensor([0, 1, 2, 2, 1]), torch.tensor([0, 2, 2, 1, 1]))
R("confusion", confusion.compute().tolist())
p, t = torch.rand(30), torch.randint(0, 2, (30,))
R("ap", BinaryAveragePrecision()(p, t).item())
R("roc", *(float(v.sum()) for v in BinaryROC(thresholds=5)(p, t)))
a, b = torch.randn(50), torch.randn(50)
for metric in (MeanSquaredError(), PearsonCorrCoef(), R2Score(), SpearmanCorrCoef()):
    metric.update(a, b)
    R(type(metric).__name__, metric.compute().item())
x, y = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
R("psnr", PeakSignalNoiseRatio(data_range=1.0)(x, y).item())
R("ssim", StructuralSimilarityIndexMeasure(data_range=1.0)(x, y).item())
R("map", RetrievalMAP()(p, t, indexes=torch.arange(30) // 10).item())
R("bleu", BLEUScore()(["the cat is on the mat now"], [["there is a cat on the mat now", "the cat is on the mat"]]).item())
R("wer", WordErrorRate()(["this is it"], ["this was it"]).item())
R("perplexity", Perplexity()(torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))).item())
R("sdr", ScaleInvariantSignalDistortionRatio()(a, b).item())
mean = torchmetrics.MeanMetric()
mean.update(torch.tensor([1.0, 2.0]))
mean.update(4.0)
R("mean", mean.compute().item(), mean.state_dict() == {})
import pickle

R("pickle", pickle.loads(pickle.dumps(mean)).compute().item())
