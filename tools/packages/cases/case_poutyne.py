# needs: poutyne torchmetrics lightning-utilities deps
import numpy as np
import torch
from poutyne import Model

torch.manual_seed(0)
np.random.seed(0)
x = np.random.randn(100, 20).astype("float32")
y = np.random.randint(0, 5, 100).astype("int64")
net = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 5))
m = Model(net, "sgd", "cross_entropy", batch_metrics=["accuracy"], epoch_metrics=["f1"])
h = m.fit(x, y, epochs=3, batch_size=20, validation_data=(x, y), progress_options={"coloring": False}, verbose=False)
for e in h:
    print("RESULT epoch", e["loss"], e["acc"], e["fscore_macro"], e["val_loss"])
print("RESULT pr", m.predict(x[:3]).sum())
l, a = m.evaluate(x, y, verbose=False)
print("RESULT ev", l)
