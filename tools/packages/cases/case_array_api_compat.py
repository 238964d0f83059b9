# needs: array-api-compat deps
import array_api_compat as aac
import numpy as np
import torch
from array_api_compat import array_namespace

x = torch.arange(12.0).reshape(3, 4)
xp = array_namespace(x)
print(
    "RESULT",
    xp.__name__,
    xp.sum(x, axis=0).tolist(),
    xp.mean(x).item(),
    xp.permute_dims(x, (1, 0)).shape,
    xp.std(x, correction=1).item(),
    xp.concat([x, x], axis=1).shape,
    xp.astype(x, xp.int64).dtype,
)
print(
    "RESULT lin",
    xp.linalg.matrix_norm(x).item(),
    xp.linalg.svd(x).S.tolist(),
    xp.linalg.vector_norm(x, axis=1).tolist(),
    xp.fft.rfft(x).abs().sum().item(),
    xp.take(x, torch.tensor([0, 2]), axis=0).sum().item(),
    xp.cumulative_sum(x[0]).tolist(),
    xp.searchsorted(x[0], torch.tensor([1.5])).tolist(),
)
print(
    "RESULT info",
    xp.__array_namespace_info__().default_dtypes(),
    aac.is_torch_array(x),
    aac.device(x),
    aac.size(x),
)
import os

os.environ["SCIPY_ARRAY_API"] = "1"
import sklearn

sklearn.set_config(array_api_dispatch=True)
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import MinMaxScaler

X = torch.tensor(np.random.default_rng(0).normal(size=(50, 6)))
print(
    "RESULT sk",
    type(MinMaxScaler().fit_transform(X)).__name__,
    MinMaxScaler().fit_transform(X).sum().item(),
    PCA(2, svd_solver="full").fit_transform(X).abs().sum().item(),
    Ridge(solver="svd").fit(X, X[:, 0] * 2).coef_.sum().item(),
    accuracy_score(torch.tensor([1, 0, 1]), torch.tensor([1, 1, 1])),
)
