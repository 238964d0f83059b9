# needs: pytorch-tabnet deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)

import numpy as np
from pytorch_tabnet.tab_model import TabNetClassifier, TabNetRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 6)).astype(np.float32)
y = (X[:, 0] + X[:, 1] > 0).astype(int)
model = TabNetClassifier(n_d=4, n_a=4, n_steps=2, seed=0, verbose=0, device_name="cpu")
model.fit(X[:150], y[:150], eval_set=[(X[150:], y[150:])], eval_metric=["auc", "logloss"], max_epochs=4, batch_size=64, virtual_batch_size=32)
R("loss", *(float(v) for v in model.history["loss"]))
R("auc", *(float(v) for v in model.history["val_0_auc"]))
R("proba", *(float(v) for v in model.predict_proba(X[:3]).ravel()))
R("importance", *(float(v) for v in model.feature_importances_))
explain, masks = model.explain(X[:20])
R("explain", float(explain.sum()))
regressor = TabNetRegressor(seed=0, verbose=0, mask_type="entmax", device_name="cpu")
regressor.fit(X, X[:, :1] * 2, max_epochs=2, batch_size=64, virtual_batch_size=32)
R("regressor", *(float(v) for v in regressor.history["loss"]))
import os
import tempfile

with tempfile.TemporaryDirectory() as folder:
    path = model.save_model(os.path.join(folder, "m"))
    again = TabNetClassifier(device_name="cpu")
    again.load_model(path)
    R("reloaded", float(np.abs(again.predict_proba(X) - model.predict_proba(X)).max()))
