# needs: pytorch-metric-learning deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import torch
from pytorch_metric_learning import distances, losses, miners, reducers, samplers

torch.manual_seed(0)
labels = torch.arange(24) % 4
net = torch.nn.Linear(8, 6)
x = torch.randn(24, 8)
miner = miners.MultiSimilarityMiner()
for criterion in (losses.TripletMarginLoss(distance=distances.CosineSimilarity(), reducer=reducers.ThresholdReducer(low=0)), losses.ContrastiveLoss(), losses.NTXentLoss(), losses.ArcFaceLoss(4, 6), losses.SupConLoss(), losses.CircleLoss(), losses.MultiSimilarityLoss(), losses.ProxyAnchorLoss(4, 6)):
    torch.manual_seed(1)
    net.zero_grad()
    e = net(x)
    loss = criterion(e, labels, miner(e, labels)) if "Triplet" in type(criterion).__name__ else criterion(e, labels)
    loss.backward()
    R(type(criterion).__name__, loss.item(), net.weight.grad.norm().item())
R("sampler", list(samplers.MPerClassSampler(labels, 2, batch_size=8))[:0])
