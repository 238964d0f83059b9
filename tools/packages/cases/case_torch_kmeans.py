# needs: torch-kmeans deps
import torch
from torch_kmeans import KMeans, SoftKMeans

torch.manual_seed(0)
x = torch.randn(2, 60, 4)
m = KMeans(n_clusters=3, verbose=False, seed=1)
r = m(x)
print("RESULT km", r.inertia.tolist(), r.labels.float().mean().item(), r.centers.sum().item())
s = SoftKMeans(n_clusters=3, verbose=False, seed=1)
print("RESULT soft", s.fit_predict(x).sum().item())
