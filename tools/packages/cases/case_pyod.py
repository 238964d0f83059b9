# needs: pyod deps
import torch
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.deep_svdd import DeepSVDD
from pyod.utils.data import generate_data

X, Xt, y, yt = generate_data(n_train=100, n_test=30, n_features=6, contamination=0.1, random_state=0)
torch.manual_seed(0)
a = AutoEncoder(epoch_num=3, batch_size=32, verbose=0, contamination=0.1, random_state=0)
a.fit(X)
print("RESULT ae", a.decision_function(Xt).sum())
d = DeepSVDD(n_features=6, epochs=3, verbose=0, random_state=0)
d.fit(X)
print("RESULT svdd", d.decision_function(Xt).sum())
