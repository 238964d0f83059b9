# needs: kmeans-pytorch deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import contextlib
import io

import numpy as np
import torch
from kmeans_pytorch import kmeans, kmeans_predict

torch.manual_seed(0)
np.random.seed(0)
x = torch.cat([torch.randn(30, 2) + shift for shift in (0.0, 6.0, 12.0)])
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    ids, centers = kmeans(X=x, num_clusters=3, distance="euclidean", device=torch.device("cpu"))
    predicted = kmeans_predict(x[:5], centers, "euclidean", device=torch.device("cpu"))
R("clusters", sorted(ids.bincount().tolist()), centers.sum().item(), (predicted == ids[:5]).all().item())
