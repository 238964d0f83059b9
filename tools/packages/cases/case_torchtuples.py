# needs: torchtuples deps
def R(name, *values):
    print("RESULT", name, *(f"{v:.6g}" if isinstance(v, float) else v for v in values), flush=True)


import numpy as np
import torch
import torchtuples as tt

torch.manual_seed(0)
np.random.seed(0)
x = np.random.randn(64, 4).astype("float32")
y = x.sum(1, keepdims=True)
model = tt.Model(tt.practical.MLPVanilla(4, [8], 1, batch_norm=True, dropout=0.1), torch.nn.MSELoss(), tt.optim.Adam(0.01))
log = model.fit(x, y, batch_size=16, epochs=3, verbose=False, val_data=(x, y))
R("log", *log.to_pandas()["train_loss"].tolist(), *log.to_pandas()["val_loss"].tolist())
R("predict", float(model.predict(x[:3]).sum()))
