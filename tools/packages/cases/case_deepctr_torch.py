# needs: deepctr-torch tqdm deps
import numpy as np
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import DeepFM, xDeepFM

rng = np.random.default_rng(0)
f = [SparseFeat("a", 10, embedding_dim=4), SparseFeat("b", 7, embedding_dim=4), DenseFeat("d", 1)]
X = {"a": rng.integers(0, 10, 64), "b": rng.integers(0, 7, 64), "d": rng.random(64)}
y = rng.integers(0, 2, 64)
for M in (DeepFM, xDeepFM):
    m = M(f, f, task="binary", device="cpu", seed=1)
    m.compile("adam", "binary_crossentropy", metrics=["auc"])
    h = m.fit(X, y, batch_size=32, epochs=2, verbose=0, shuffle=False)
    print("RESULT", M.__name__, [float(v) for v in h.history["loss"]], m.predict(X, 64).sum())
