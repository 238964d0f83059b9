# needs: shap deps
import numpy as np
import shap
import torch
from torch import nn

torch.manual_seed(0)
m = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 9, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
bg = torch.randn(10, 1, 8, 8)
x = torch.randn(2, 1, 8, 8)
e = shap.DeepExplainer(m, bg)
v = np.array(e.shap_values(x, check_additivity=False))
print("RESULT deep", v.shape, np.abs(v).sum(), v.sum())
g = shap.GradientExplainer(m, bg)
v = np.array(g.shap_values(x, nsamples=50, rseed=0))
print("RESULT grad", v.shape, np.abs(v).sum())
m2 = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
e = shap.DeepExplainer(m2, torch.randn(20, 5))
print("RESULT lin", np.abs(np.array(e.shap_values(torch.ones(3, 5)))).sum())
