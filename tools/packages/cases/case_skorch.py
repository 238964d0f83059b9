# needs: skorch deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring, LRScheduler

torch.manual_seed(0)
X, y = make_classification(200, 20, n_informative=8, random_state=0)
X, y = X.astype(np.float32), y.astype(np.int64)


class Net(torch.nn.Module):
    def __init__(self, units=10):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(20, units), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(units, 2))

    def forward(self, X):
        return torch.softmax(self.layers(X), -1)


net = NeuralNetClassifier(Net, max_epochs=5, lr=0.1, iterator_train__shuffle=True, verbose=0,
                          callbacks=[EpochScoring("roc_auc", lower_is_better=False), EarlyStopping(patience=4), LRScheduler("StepLR", step_size=2)])
net.fit(X, y)
for i, (a, b) in enumerate(zip(net.history[:, "train_loss"], net.history[:, "valid_loss"])):
    R(f"epoch{i}", float(a), float(b))
R("auc", float(net.history[-1, "roc_auc"]))
R("proba", *(float(v) for v in net.predict_proba(X[:2]).ravel()))
torch.manual_seed(1)
search = GridSearchCV(Pipeline([("scale", StandardScaler()), ("net", NeuralNetClassifier(Net, max_epochs=2, lr=0.1, verbose=0, train_split=False))]),
                      {"net__lr": [0.05, 0.1], "net__module__units": [5, 10]}, cv=2, scoring="accuracy")
search.fit(X, y)
R("search", search.best_params_, float(search.best_score_))
import pickle

again = pickle.loads(pickle.dumps(net))
R("pickled", float(np.abs(again.predict_proba(X) - net.predict_proba(X)).max()))
